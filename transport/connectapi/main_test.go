package connectapi_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"log/slog"
	"net/http"
	"testing"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/connecttest"
	"github.com/chassi-go/chassi/transport/connectapi"
	"github.com/chassi-go/chassi/transport/httpapi"
	"github.com/chassi-go/chassi/transport/transporttest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start serves services by the Connect protocol, until the test stops the server.
func start(t testing.TB, c httpapi.Config, middleware []chassi.Middleware, services ...*chassi.Service) *httpapi.Server {
	t.Helper()
	c.Addr, c.Logger, c.H2C = "127.0.0.1:0", slog.New(slog.DiscardHandler), true
	c.Connect, c.ConnectCodec = true, connectapi.New()
	s, err := httpapi.New(c, middleware...)
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
	return s
}

func serve(t testing.TB, c httpapi.Config, services ...*chassi.Service) string {
	t.Helper()
	s := start(t, c, nil, services...)
	t.Cleanup(func() {
		if err := s.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return "http://" + s.Addr().String()
}

// httpClient returns a client of HTTP/1.1, or of HTTP/2 without TLS.
func httpClient(t testing.TB, h2 bool) *http.Client {
	t.Helper()
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!h2)
	protocols.SetUnencryptedHTTP2(h2)
	transport := &http.Transport{Protocols: protocols}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ json, gzip bool }{"JSON": {json: true}, "Protobuf": {gzip: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr := transporttest.Transport{Cancels: true}
			if c.json {
				tr.Strict = "json"
			}
			tr.Start = func(t *testing.T, o transporttest.Options, services ...*chassi.Service) transporttest.Instance {
				t.Helper()
				s := start(t, httpapi.Config{
					MaxBodyBytes: int64(o.MaxMessageBytes), MaxConnections: o.MaxConcurrent, MaxConnectionsPerClient: o.MaxConcurrent,
				}, o.Middleware, services...)
				caller := &connecttest.Caller{URL: "http://" + s.Addr().String(), Client: httpClient(t, false), Gzip: c.gzip, MaxBytes: int64(o.MaxResponseBytes)}
				format := "protobuf"
				if c.json {
					caller.JSON, format = connecttest.NewJSON(services...), "json"
				}
				return transporttest.Instance{Caller: caller, Server: s, Send: map[string]func(context.Context, *chassi.Endpoint, []byte) error{
					format: func(ctx context.Context, e *chassi.Endpoint, payload []byte) error {
						one := *caller
						one.Client = httpClient(t, false)
						_, err := one.Send(ctx, e, payload)
						return err
					},
				}}
			}
			transporttest.Run(t, tr)
		})
	}
}

func zipped(t testing.TB, body string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(body)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
