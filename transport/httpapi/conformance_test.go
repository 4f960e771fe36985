package httpapi_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"testing"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/transport/httpapi"
	"github.com/chassi-go/chassi/transport/transporttest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	transporttest.Run(t, transporttest.Transport{Cancels: true, Streams: true, Strict: "json", Start: startConformance})
}

func TestConformanceOfEventStreams(t *testing.T) {
	t.Parallel()
	transporttest.RunStreams(t, transporttest.Transport{Cancels: true, Start: func(t *testing.T, o transporttest.Options, services ...*chassi.Service) transporttest.Instance {
		t.Helper()
		return startHTTP(t, o, httpapi.ClientConfig{EventStreams: true}, services...)
	}})
}

func startConformance(t *testing.T, o transporttest.Options, services ...*chassi.Service) transporttest.Instance {
	t.Helper()
	return startHTTP(t, o, httpapi.ClientConfig{}, services...)
}

func startHTTP(t *testing.T, o transporttest.Options, config httpapi.ClientConfig, services ...*chassi.Service) transporttest.Instance {
	t.Helper()
	s, err := httpapi.New(httpapi.Config{
		Addr: "127.0.0.1:0", MaxBodyBytes: int64(o.MaxMessageBytes), MaxConnections: o.MaxConcurrent, MaxConnectionsPerClient: o.MaxConcurrent, Streams: o.Streams, Logger: slog.New(slog.DiscardHandler),
	}, o.Middleware...)
	if err != nil {
		t.Fatal(err)
	}
	for _, service := range services {
		if err := s.Mount(service); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	base := "http://" + s.Addr().String()
	config.URL, config.MaxResponseBytes = base, int64(o.MaxResponseBytes)
	c, err := httpapi.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	send := func(ctx context.Context, e *chassi.Endpoint, payload []byte) error {
		method, path := e.Route()
		if e.Name() == "Echo" {
			path = "/echo/w"
		}
		r, err := http.NewRequestWithContext(ctx, method, base+path, bytes.NewReader(payload))
		if err != nil {
			return err
		}
		r.Close = true
		r.Header.Set("Content-Type", "application/json")
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode < 300 {
			return err
		}
		return httpapi.ProblemOf(response, body)
	}
	return transporttest.Instance{Caller: c, Server: s, Send: map[string]func(context.Context, *chassi.Endpoint, []byte) error{"json": send}}
}
