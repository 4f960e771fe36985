package httpapi_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/transport/httpapi"
)

type greetRequestExample struct {
	Name string `json:"name"`
}

type greetingExample struct {
	Text string `json:"text"`
}

func greetExample(_ context.Context, r *greetRequestExample) (*greetingExample, error) {
	return &greetingExample{Text: "Hello, " + r.Name + "!"}, nil
}

func greeterExample() *chassi.Service {
	return chassi.NewService("greet.v1.Greeter",
		chassi.NewEndpoint("Greet", greetExample, chassi.Route("POST /v1/greet"), chassi.Public))
}

// A server is an http.Handler, too.
func ExampleServer() {
	server, err := httpapi.New(httpapi.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := server.Mount(greeterExample()); err != nil {
		fmt.Println(err)
		return
	}
	for _, body := range []string{`{"name":"Ada"}`, `{"nam":"Ada"}`} {
		r := httptest.NewRequestWithContext(context.Background(), http.MethodPost, "/v1/greet", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		server.ServeHTTP(w, r)
		text, _ := io.ReadAll(w.Result().Body)
		fmt.Println(w.Code, w.Header().Get("Content-Type"), len(text) > 0)
	}
	// Output:
	// 200 application/json true
	// 400 application/problem+json true
}

// A client calls the endpoints that a server with the same description serves.
func ExampleClient() {
	server, err := httpapi.New(httpapi.Config{Logger: slog.New(slog.DiscardHandler)})
	if err == nil {
		err = server.Mount(greeterExample())
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	listener := httptest.NewServer(server)
	defer listener.Close()

	transport, err := httpapi.NewClient(httpapi.ClientConfig{URL: listener.URL})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer transport.Close()
	greeter, err := client.New(greeterExample(), transport)
	if err != nil {
		fmt.Println(err)
		return
	}
	greeting, err := client.Invoke[greetingExample](context.Background(), greeter, "Greet", &greetRequestExample{Name: "Ada"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(greeting.Text)
	// Output: Hello, Ada!
}
