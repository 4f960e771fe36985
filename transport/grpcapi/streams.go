package grpcapi

import (
	"context"
	"fmt"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/ratelimit"
	"google.golang.org/grpc/tap"
)

// streams bounds the streams that one client has open over all of its connections. A
// stream is open from its metadata to its end, health watches and calls whose message has
// not arrived yet included. That is what bounds the messages of one client that are held
// in memory: grpc-go reads a whole message before any middleware runs.
type streams struct {
	max    int64
	open   *ratelimit.Usage
	refuse error
}

func newStreams(limit int) *streams {
	e := chassi.NewError(chassi.ResourceExhausted, "too_many_streams", fmt.Sprintf("More than %d calls of one client at once", limit)).
		WithRetryAfter(time.Second)
	return &streams{max: int64(limit), open: ratelimit.NewUsage(), refuse: statusOf("", e).Err()}
}

// begin is what grpc-go asks before it takes a call in. A refused call costs no goroutine
// and nothing of its message is kept.
func (s *Server) begin(ctx context.Context, call *tap.Info) (context.Context, error) {
	client := s.clientOf(ctx)
	if !client.IsValid() {
		return s.limitCall(ctx, call)
	}
	key := ratelimit.AddrKey(client.Addr())
	if !s.streams.open.Acquire(key, 1, s.streams.max) {
		return nil, s.streams.refuse
	}
	context.AfterFunc(ctx, func() { s.streams.open.Release(key, 1) }) // grpc-go ends it with the stream
	return s.limitCall(ctx, call)
}
