package grpcapi_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/transport/grpcapi"
	"github.com/chassi-go/chassi/transport/transporttest"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	t.Parallel()
	transporttest.Run(t, transporttest.Transport{Cancels: true, Streams: true, Start: startConformance})
}

func startConformance(t *testing.T, o transporttest.Options, services ...*chassi.Service) transporttest.Instance {
	t.Helper()
	s := start(t, grpcapi.Config{MaxMessageBytes: o.MaxMessageBytes, MaxStreams: uint32(o.MaxConcurrent), Streams: o.Streams}, o.Middleware, services...)
	c, err := grpcapi.Dial(grpcapi.ClientConfig{Target: s.Addr().String(), MaxMessageBytes: o.MaxResponseBytes})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	raw := dial(t, s)
	send := func(ctx context.Context, e *chassi.Endpoint, payload []byte) error {
		response := new(bytesMessage)
		err := raw.Invoke(ctx, "/"+e.FullName(), (*bytesMessage)(&payload), response, grpc.ForceCodec(rawCodec{}))
		if err != nil {
			return grpcapi.ErrorOf(ctx, err)
		}
		return nil
	}
	return transporttest.Instance{Caller: c, Server: s, Send: map[string]func(context.Context, *chassi.Endpoint, []byte) error{"protobuf": send}}
}

// start serves on a free port; the caller stops the server.
func start(t testing.TB, c grpcapi.Config, middleware []chassi.Middleware, services ...*chassi.Service) *grpcapi.Server {
	t.Helper()
	c.Addr = "127.0.0.1:0"
	c.Logger = slog.New(slog.DiscardHandler)
	s := grpcapi.New(c, middleware...)
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

func dial(t testing.TB, s *grpcapi.Server, options ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	c, err := grpc.NewClient(s.Addr().String(), append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// rawCodec sends bytes as they are.
type rawCodec struct{}

type bytesMessage []byte

var _ encoding.Codec = rawCodec{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) ([]byte, error) {
	b, ok := v.(*bytesMessage)
	if !ok {
		return nil, fmt.Errorf("a %T", v)
	}
	return *b, nil
}

func (rawCodec) Unmarshal(data []byte, v any) error {
	*v.(*bytesMessage) = append([]byte(nil), data...)
	return nil
}
