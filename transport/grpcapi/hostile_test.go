package grpcapi_test

import (
	"context"
	"math"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/transport"
	"github.com/chassi-go/chassi/transport/grpcapi"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"
)

// Whatever a server returns, the client returns one error with a code, in bounded time.
func TestClientOfHostileServers(t *testing.T) {
	t.Parallel()
	detailed := func(delay *durationpb.Duration) error {
		s, err := status.New(codes.Unavailable, "x").WithDetails(&errdetails.RetryInfo{RetryDelay: delay})
		if err != nil {
			t.Fatal(err)
		}
		return s.Err()
	}
	for name, c := range map[string]struct {
		response func(stream grpc.ServerStream) error
		want     chassi.Code
		delay    time.Duration
	}{
		"absurd delay":   {func(grpc.ServerStream) error { return detailed(&durationpb.Duration{Seconds: math.MaxInt64}) }, chassi.Unavailable, 24 * time.Hour},
		"negative delay": {func(grpc.ServerStream) error { return detailed(&durationpb.Duration{Seconds: -5}) }, chassi.Unavailable, 0},
		"unknown code":   {func(grpc.ServerStream) error { return status.Error(codes.Code(200), "x") }, chassi.Unknown, 0},
		"no response": {func(s grpc.ServerStream) error {
			<-s.Context().Done()
			return status.FromContextError(s.Context().Err()).Err() // the client may hear it before its own timer
		}, chassi.DeadlineExceeded, 0},
		"no message": {func(grpc.ServerStream) error { return nil }, chassi.Unimplemented, 0},
		"large header": {func(s grpc.ServerStream) error {
			s.SetTrailer(metadata.Pairs("x-large", strings.Repeat("x", 1<<20)))
			return s.SendMsg(&emptypb.Empty{})
		}, chassi.Internal, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			server := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, s grpc.ServerStream) error { return c.response(s) }))
			served := make(chan error, 1)
			go func() { served <- server.Serve(l) }()
			defer func() { server.Stop(); <-served }()
			got := callOnce(t, l.Addr().String())
			if got.Code != c.want || got.RetryAfter != c.delay {
				t.Errorf("%v after %v, want %v after %v: %v", got.Code, got.RetryAfter, c.want, c.delay, got.Cause)
			}
		})
	}
}

// callOnce calls what listens on addr and returns its error.
func callOnce(t *testing.T, addr string) *chassi.Error {
	t.Helper()
	client, err := grpcapi.Dial(grpcapi.ClientConfig{Target: addr, Timeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	type reply struct {
		Text string `json:"text"`
	}
	e := chassi.NewEndpoint("M", func(context.Context, *struct{}) (*reply, error) { return nil, nil }, chassi.Public)
	chassi.NewService("t.v1.T", e)
	_, call, err := client.Bind(e)
	if err != nil {
		t.Fatal(err)
	}
	err = call(t.Context(), &chassi.Call{Request: &struct{}{}, Response: new(reply), In: &transport.Pairs{}, Out: &transport.Pairs{}})
	if err == nil {
		t.Fatal("no error")
	}
	return chassi.ErrorOf(err)
}
