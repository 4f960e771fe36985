package httpapi_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/transport/httpapi"
)

type (
	putRequest struct {
		Folder string      `json:"-" path:"folder"`
		File   chassi.File `json:"file"`
	}
	putResponse struct {
		Location string `json:"-" header:"Location"`
		Bytes    int64  `json:"bytes"`
	}
	getRequest struct {
		Name string `json:"-" path:"name"`
	}
	getResponse struct {
		File chassi.File `json:"file"`
	}
)

func put(_ context.Context, r *putRequest) (*putResponse, error) {
	n, err := io.Copy(io.Discard, r.File.Reader) // a real service stores it
	if err != nil {
		return nil, err
	}
	return &putResponse{Location: "/files/" + r.Folder + "/" + r.File.Name, Bytes: n}, nil
}

func get(_ context.Context, r *getRequest) (*getResponse, error) {
	return &getResponse{chassi.File{Reader: strings.NewReader("the content"), Name: r.Name, Type: "text/plain", ETag: "v1"}}, nil
}

func ping(w http.ResponseWriter, r *http.Request) {
	if r.URL.RawQuery != "" {
		httpapi.WriteError(w, r, chassi.NewError(chassi.InvalidArgument, "no_query", "This page has no query"))
		return
	}
	fmt.Fprint(w, "<p>pong</p>")
}

// Files go up and down through typed endpoints; an http.Handler is an endpoint of the service.
func Example_files() {
	server, err := httpapi.New(httpapi.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	err = server.Mount(chassi.NewService("files.v1.Files",
		chassi.NewEndpoint("Put", put, chassi.Route("POST /files/{folder}"), chassi.Status(http.StatusCreated), chassi.MaxBody(1<<30), chassi.Public, chassi.Transports("http")),
		chassi.NewEndpoint("Get", get, chassi.Route("GET /files/{name}"), chassi.Public, chassi.Transports("http")),
		httpapi.NewEndpoint("Ping", "GET /ping", http.HandlerFunc(ping), chassi.Public, chassi.Transports("http")),
	))
	if err != nil {
		fmt.Println(err)
		return
	}
	upload := httptest.NewRequest(http.MethodPost, "/files/letters", strings.NewReader("Dear reader"))
	upload.Header.Set("Content-Disposition", `attachment; filename="../a.txt"`)
	download := httptest.NewRequest(http.MethodGet, "/files/a.txt", nil)
	download.Header.Set("Range", "bytes=4-")
	for _, r := range []*http.Request{upload, download, httptest.NewRequest(http.MethodGet, "/ping", nil)} {
		w := httptest.NewRecorder()
		server.ServeHTTP(w, r)
		fmt.Println(w.Code, w.Header().Get("Location"), w.Body)
	}
	// Output:
	// 201 /files/letters/a.txt {"bytes":11}
	// 206  content
	// 200  <p>pong</p>
}
