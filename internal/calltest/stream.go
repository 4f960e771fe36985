package calltest

import (
	"context"
	"iter"

	"github.com/chassi-go/chassi"
)

// Item is an item of a stream.
type Item struct {
	Text string `json:"text"`
}

// Items implements [chassi.StreamCodec]. The size of an item is the length of its text.
type Items struct{ Body }

// Begin admits the stream and returns ctx.
func (*Items) Begin(ctx context.Context, _ *chassi.Call) (context.Context, error) { return ctx, nil }

// Open is a no-op and returns nil.
func (*Items) Open() error { return nil }

// Send returns the size of item, which must be an *[Item].
func (*Items) Send(item any) (int, error) { return len(item.(*Item).Text), nil }

// NewStream returns a call of a stream over gRPC that runs method.
func NewStream(method func(context.Context) (iter.Seq2[*Item, error], error), options ...chassi.EndpointOption) *Thing {
	th := New(Fine, options...)
	th.Binding.Endpoint = chassi.NewStream("Watch", func(ctx context.Context, _ *request) (iter.Seq2[*Item, error], error) { return method(ctx) }, options...)
	th.Binding.Transport, th.Binding.Method, th.Binding.Route = "grpc", "", "things.v1.Things/Watch"
	th.Binding.Status = func(_ *chassi.Call, err error) int {
		if err == nil {
			return 0
		}
		return int(chassi.ErrorOf(err).Code)
	}
	th.Call.Codec = &Items{}
	return th
}
