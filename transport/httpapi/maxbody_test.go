package httpapi_test

import (
	"bytes"
	"context"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/transport/connectapi"
	"github.com/chassi-go/chassi/transport/httpapi"
)

// A client can send the largest body of each endpoint, although the limits for the bodies of all
// calls of a client are lower.
func TestLargestBodyOfAnEndpoint(t *testing.T) {
	t.Parallel()
	const size = 200 << 10
	s, err := httpapi.New(httpapi.Config{MaxBodyBytes: 1 << 10, MaxBodyBytesPerClient: 1 << 10, Connect: true, ConnectCodec: connectapi.New()})
	if err != nil {
		t.Fatal(err)
	}
	type text struct {
		Text string `json:"text"`
	}
	type upload struct {
		File chassi.File `json:"file"`
		Text string      `json:"text"`
	}
	mount := func(name string, endpoints ...*chassi.Endpoint) {
		t.Helper()
		if err := s.Mount(chassi.NewService(name, endpoints...)); err != nil {
			t.Fatal(err)
		}
	}
	none := func(context.Context, *text) (*struct{}, error) { return &struct{}{}, nil }
	post := func(path, kind string, body string) {
		t.Helper()
		r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
		r.Header.Set("Content-Type", kind)
		w := httptest.NewRecorder()
		if s.ServeHTTP(w, r); w.Code != http.StatusOK && w.Code != http.StatusNoContent {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}

	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	_ = w.WriteField("text", strings.Repeat("x", 64<<10))
	_, _ = w.CreateFormFile("file", "a")
	w.Close()
	mount("test.v1.Files", chassi.NewEndpoint("Put", func(context.Context, *upload) (*struct{}, error) { return &struct{}{}, nil },
		chassi.Route("POST /files"), chassi.Transports("http"), chassi.Public, chassi.MaxBody(size)))
	post("/files", w.FormDataContentType(), form.String())

	largest := `{"text":"` + strings.Repeat("x", size-11) + `"}`
	mount("test.v1.Method", chassi.NewEndpoint("Put", none, chassi.Public, chassi.MaxBody(size)))
	post("/test.v1.Method/Put", "application/json", largest)
	mount("test.v1.Routes", chassi.NewEndpoint("Put", none, chassi.Route("POST /texts"), chassi.Public, chassi.MaxBody(2*size)))
	post("/texts", "application/json", `{"text":"`+strings.Repeat("x", 2*size-11)+`"}`)
}
