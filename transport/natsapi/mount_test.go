package natsapi_test

import (
	"context"
	"strings"
	"testing"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/transport/natsapi"
)

// What cannot be carried is refused when it is mounted, with endpoint and field named.
func TestMountRejectsUnencodableTypes(t *testing.T) {
	t.Parallel()
	method := func(context.Context, *struct{ Items []struct{ Done chan int } }) (*struct{}, error) {
		return &struct{}{}, nil
	}
	err := natsapi.New(natsapi.Config{}).Mount(chassi.NewService("a.v1.A", chassi.NewEndpoint("Do", method, chassi.Public)))
	if err == nil || !strings.Contains(err.Error(), "a.v1.A/Do") || !strings.Contains(err.Error(), "field Items: field Done: chan int") {
		t.Errorf("mounted: %v", err)
	}
}

// A file cannot be carried, and is skipped where it is limited to other transports.
func TestMountRefusesFiles(t *testing.T) {
	t.Parallel()
	service := func(options ...chassi.EndpointOption) *chassi.Service {
		return chassi.NewService("a.v1.A", chassi.NewEndpoint("Up", func(context.Context, *struct{ File chassi.File }) (*struct{}, error) { return &struct{}{}, nil }, options...))
	}
	err := natsapi.New(natsapi.Config{}).Mount(service())
	if want := "natsapi: a.v1.A/Up: files are not supported over NATS (see chassi.Transports)"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	nested := func(context.Context, *struct{ Files []chassi.File }) (*struct{}, error) { return &struct{}{}, nil }
	err = natsapi.New(natsapi.Config{}).Mount(chassi.NewService("b.v1.B", chassi.NewEndpoint("Up", nested)))
	if err == nil || !strings.Contains(err.Error(), "b.v1.B/Up") || !strings.Contains(err.Error(), "field Files") {
		t.Errorf("a list of files: %v", err)
	}
	if err := natsapi.New(natsapi.Config{}).Mount(service(chassi.Transports("http", "local"))); err != nil {
		t.Error(err)
	}
}
