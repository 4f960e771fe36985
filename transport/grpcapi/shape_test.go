package grpcapi_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/transport/grpcapi"
	"github.com/chassi-go/chassi/transport/httpapi"
)

// A file and an http.Handler are refused at mount and by the client, and skipped where they are
// limited to HTTP.
func TestMountRefusesFilesAndHandlers(t *testing.T) {
	t.Parallel()
	upload := func(context.Context, *struct{ File chassi.File }) (*struct{}, error) { return &struct{}{}, nil }
	handler := http.NotFoundHandler()
	caller, err := grpcapi.Dial(grpcapi.ClientConfig{Target: "127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	defer caller.Close()
	service := func(options ...chassi.EndpointOption) *chassi.Service {
		return chassi.NewService("a.v1.A", chassi.NewEndpoint("Up", upload, options...), httpapi.NewEndpoint("Page", "GET /page", handler, options...))
	}
	err = grpcapi.New(grpcapi.Config{}).Mount(service())
	for _, want := range []string{
		"grpcapi: a.v1.A/Up: files are not supported over gRPC (see chassi.Transports)",
		"grpcapi: a.v1.A/Page: HTTP endpoints are not supported over gRPC (see chassi.Transports)",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if _, err := client.New(service(), caller); err == nil || !strings.Contains(err.Error(), "a.v1.A/Up: files are not supported over gRPC") {
		t.Errorf("the client: %v", err)
	}
	limited := service(chassi.Transports("http"))
	nested := func(context.Context, *struct{ Files []chassi.File }) (*struct{}, error) { return &struct{}{}, nil }
	err = grpcapi.New(grpcapi.Config{}).Mount(chassi.NewService("b.v1.B", chassi.NewEndpoint("Up", nested)))
	if err == nil || !strings.Contains(err.Error(), "b.v1.B/Up") || !strings.Contains(err.Error(), "field Files") {
		t.Errorf("a list of files: %v", err)
	}
	if err := grpcapi.New(grpcapi.Config{}).Mount(limited); err != nil {
		t.Error(err)
	}
	if _, err := client.New(limited, caller); err != nil {
		t.Error(err)
	}
}
