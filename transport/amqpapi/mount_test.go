package amqpapi_test

import (
	"context"
	"iter"
	"strings"
	"testing"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/transport"
	"github.com/chassi-go/chassi/transport/amqpapi"
)

// What cannot be carried is refused when it is mounted, with endpoint and field named.
func TestMountRejectsUnencodableTypes(t *testing.T) {
	t.Parallel()
	method := func(context.Context, *struct{ Items []struct{ Done chan int } }) (*struct{}, error) {
		return &struct{}{}, nil
	}
	err := amqpapi.New(amqpapi.Config{}).Mount(chassi.NewService("a.v1.A", chassi.NewEndpoint("Do", method, chassi.Public)))
	if err == nil || !strings.Contains(err.Error(), "a.v1.A/Do") || !strings.Contains(err.Error(), "field Items: field Done: chan int") {
		t.Errorf("mounted: %v", err)
	}
}

// AMQP carries no streams: server, client and queues refuse them.
func TestStreamsAreRefused(t *testing.T) {
	t.Parallel()
	watch := func(context.Context, *struct{}) (iter.Seq2[*struct{}, error], error) { return nil, nil }
	service := chassi.NewService("quotes.v1.Quotes", chassi.NewStream("Watch", watch, chassi.Public))
	want := "amqpapi: quotes.v1.Quotes/Watch: streams are not supported over AMQP (see chassi.Transports)"
	server := amqpapi.New(amqpapi.Config{})
	if err := server.Mount(service); err == nil || err.Error() != want {
		t.Errorf("mounted: %v", err)
	}
	if _, err := client.New(service, new(amqpapi.Client)); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("bound: %v", err)
	}
	if _, _, err := new(amqpapi.Client).Bind(service.Endpoint("Watch")); err == nil || err.Error() != want {
		t.Errorf("bound: %v", err)
	}
	err := server.Consume(transport.Queue{Name: "jobs"}, service.Endpoint("Watch"))
	if err == nil || err.Error() != "amqpapi: work queue jobs: quotes.v1.Quotes/Watch is a stream, which a work queue cannot carry" {
		t.Errorf("consumed: %v", err)
	}
}

// A file cannot be carried, and is skipped where it is limited to other transports.
func TestMountRefusesFiles(t *testing.T) {
	t.Parallel()
	service := func(options ...chassi.EndpointOption) *chassi.Service {
		return chassi.NewService("a.v1.A", chassi.NewEndpoint("Up", func(context.Context, *struct{ File chassi.File }) (*struct{}, error) { return &struct{}{}, nil }, options...))
	}
	err := amqpapi.New(amqpapi.Config{}).Mount(service())
	if want := "amqpapi: a.v1.A/Up: files are not supported over AMQP (see chassi.Transports)"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	nested := func(context.Context, *struct{ Files []chassi.File }) (*struct{}, error) { return &struct{}{}, nil }
	err = amqpapi.New(amqpapi.Config{}).Mount(chassi.NewService("b.v1.B", chassi.NewEndpoint("Up", nested)))
	if err == nil || !strings.Contains(err.Error(), "b.v1.B/Up") || !strings.Contains(err.Error(), "field Files") {
		t.Errorf("a list of files: %v", err)
	}
	if err := amqpapi.New(amqpapi.Config{}).Mount(service(chassi.Transports("http", "local"))); err != nil {
		t.Error(err)
	}
}
