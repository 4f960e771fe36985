package transporttest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
)

// streams is the service whose streams the cases open.
type streams struct {
	ended   chan error    // receives the cause of each iterator's context when the iterator returns
	yielded atomic.Int64  // number of items that were sent
	resumed chan struct{} // closed to end the pause of streams
}

func newStreams() *streams {
	return &streams{ended: make(chan error, 1000), resumed: make(chan struct{})}
}

func (s *streams) endpoints() *chassi.Service {
	return chassi.NewService("conformance.v1.Streams",
		chassi.NewStream("Watch", s.watch, chassi.Route("POST /watch"), chassi.Public, chassi.Idempotent),
		chassi.NewStream("Mine", s.watch, chassi.Route("POST /mine")),
		chassi.NewStream("Export", s.watch, chassi.Route("POST /export"), chassi.Public, chassi.Finite),
	)
}

// WatchRequest is the request of Watch, Mine and Export, which respond with a stream.
type WatchRequest struct {
	Count int    `json:"count" validate:"max=100000"` // number of items
	Size  int    `json:"size"`                        // size of the text of each item in bytes
	How   string `json:"how"`                         // "", or the name of a case in the method watch
}

// Item is an item of a stream. It may have no content.
type Item struct {
	Number int     `json:"number"`
	Text   string  `json:"text"`
	Inner  []Inner `json:"inner"`
}

var errStream = theError(chassi.Aborted).WithDetails(theDetail()).WithRetryAfter(2 * time.Second)

func (s *streams) watch(ctx context.Context, r *WatchRequest) (iter.Seq2[*Item, error], error) {
	switch r.How {
	case "refuse":
		return nil, theError(chassi.NotFound).WithDetails(theDetail())
	case "nothing":
		return nil, nil //nolint:nilnil // there is nothing to send
	case "panic at once":
		panic(hidden)
	case "open slowly":
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return func(yield func(*Item, error) bool) {
		defer func() { s.ended <- context.Cause(ctx) }()
		if r.How == "elsewhere" { // a mistake that must do no harm
			done := make(chan struct{})
			go func() { defer close(done); s.items(r, yield) }()
			<-done
			return
		}
		if !s.items(r, yield) {
			return
		}
		switch r.How {
		case "tick":
			for range time.Tick(10 * time.Millisecond) { // and looks at nothing but yield
				if !yield(&Item{}, nil) {
					return
				}
			}
		case "fail":
			yield(nil, fmt.Errorf("%s: %w", hidden, errStream))
		case "panic":
			panic(hidden)
		case "wait":
			<-ctx.Done()
		case "pause":
			select {
			case <-s.resumed:
				yield(&Item{Number: -1}, nil)
			case <-ctx.Done():
			}
		}
	}, nil
}

func (s *streams) items(r *WatchRequest, yield func(*Item, error) bool) bool {
	for n := range r.Count {
		item := &Item{Number: n, Text: strings.Repeat("x", r.Size)}
		if n%3 == 1 {
			item.Inner = []Inner{{Name: "grüße \u2028"}}
		}
		if !yield(item, nil) {
			return false
		}
		s.yielded.Add(1)
	}
	return true
}

// startStreams starts a server of the service streams, with a heartbeat interval of 500 ms. The
// functions in change may modify the options of the server.
func (f *fixture) startStreams(t *testing.T, change ...func(*Options)) {
	t.Helper()
	f.streams = newStreams()
	f.startService(t, f.streams.endpoints(), newStreams().endpoints(), func(o *Options) {
		o.Streams.Heartbeat = 500 * time.Millisecond
		for _, c := range change {
			c(o)
		}
	})
}

// watch opens a stream of the named endpoint and returns its iterator, or the error of the call.
func (f *fixture) watch(ctx context.Context, name string, r *WatchRequest) (iter.Seq2[*Item, error], error) {
	return client.Stream[Item](ctx, f.client, name, r)
}

// all opens a stream of Watch, and returns the items of the stream and its error.
func (f *fixture) all(ctx context.Context, r *WatchRequest) (items []*Item, err error) {
	stream, err := f.watch(ctx, "Watch", r)
	if err != nil {
		return nil, err
	}
	if stream == nil {
		return nil, nil
	}
	for item, err := range stream {
		if err != nil {
			return items, err
		}
		items = append(items, item)
	}
	return items, nil
}

// testStream verifies that the items of a stream arrive complete and in order, followed by the end
// of the stream, and that the client receives neither a stream nor an error if there is nothing to
// send.
func testStream(t *testing.T, f *fixture) {
	f.startStreams(t)
	for _, r := range []*WatchRequest{{Count: 1}, {Count: 1000, Size: 100}, {Count: 10, Size: 10 << 10}, {Count: 100, How: "elsewhere"}, {Count: 0}} {
		items, err := f.all(bounded(t), r)
		if err != nil || len(items) != r.Count {
			t.Fatalf("%+v: got %d items and the error %v, want %d items and no error", *r, len(items), err, r.Count)
		}
		for n, item := range items {
			want := &Item{Number: n, Text: strings.Repeat("x", r.Size)}
			if n%3 == 1 {
				want.Inner = []Inner{{Name: "grüße \u2028"}}
			}
			if len(item.Inner) == 0 {
				item.Inner = nil
			}
			if !reflect.DeepEqual(item, want) {
				t.Fatalf("item %d: got %+v, want %+v", n, *item, *want)
			}
		}
	}
	if stream, err := f.watch(bounded(t), "Watch", &WatchRequest{How: "nothing"}); stream != nil || err != nil {
		t.Errorf("response with nothing to send: got a stream: %v, error %v, want neither", stream != nil, err)
	}
}

// testStreamRefused verifies that an error before the first item is the error of the call, with its
// code and details.
func testStreamRefused(t *testing.T, f *fixture) {
	f.startStreams(t)
	stream, err := f.watch(bounded(t), "Watch", &WatchRequest{Count: 1, How: "refuse"})
	if _, ok := chassi.DetailOf[Detail](err); stream != nil || !errors.Is(err, theError(chassi.NotFound)) || !ok {
		t.Errorf("refused stream: got a stream: %v, error %v with a detail: %v, want only not_found with its detail", stream != nil, err, ok)
	}
	if _, err := f.watch(bounded(t), "Watch", &WatchRequest{Count: 1_000_000}); chassi.ErrorOf(err).Code != chassi.InvalidArgument {
		t.Errorf("stream for an invalid request: got %v, want invalid_argument", err)
	}
	if _, err := f.watch(bounded(t), "Mine", &WatchRequest{Count: 1}); chassi.ErrorOf(err).Code != chassi.Unauthenticated {
		t.Errorf("stream without credentials: got %v, want unauthenticated", err)
	}
	if _, err := f.watch(bounded(t), "Watch", &WatchRequest{How: "panic at once"}); chassi.ErrorOf(err).Code != chassi.Internal {
		t.Errorf("panic in the method: got %v, want internal", err)
	}
}

// testStreamFails verifies that an error that ends a stream arrives after the items, with its code,
// reason, details and retry delay.
func testStreamFails(t *testing.T, f *fixture) {
	f.startStreams(t)
	items, err := f.all(bounded(t), &WatchRequest{Count: 5, How: "fail"})
	e := chassi.ErrorOf(err)
	if _, ok := chassi.DetailOf[Detail](err); len(items) != 5 || !errors.Is(err, errStream) || !ok || e.RetryAfter != 2*time.Second {
		t.Errorf("got %d items, then %v with the retry delay %v and a detail: %v, want 5 items, then %v with the delay 2s and a detail", len(items), err, delayOf(err), ok, errStream)
	}
	if f.Send != nil && strings.Contains(fmt.Sprint(err), hidden) {
		t.Errorf("got %v, want an error without its cause", err)
	}
}

// testStreamPanics verifies that a panic in an iterator is an error for the client, that the panic
// is logged once, and that the server continues.
func testStreamPanics(t *testing.T, f *fixture) {
	f.startStreams(t)
	items, err := f.all(bounded(t), &WatchRequest{Count: 3, How: "panic"})
	if e := chassi.ErrorOf(err); len(items) != 3 || e == nil || e.Code != chassi.Internal {
		t.Errorf("got %d items, then %v, want 3 items, then internal", len(items), err)
	}
	if items, err := f.all(bounded(t), &WatchRequest{Count: 1}); err != nil || len(items) != 1 {
		t.Errorf("stream after the panic: got %d items and the error %v, want 1 item and no error", len(items), err)
	}
	if n := strings.Count(f.log.String(), `"stack":`); n != 1 {
		t.Errorf("the panic was logged %d times, want once:\n%s", n, f.log.String())
	}
}

// testStreamLeft verifies that the iterator at the server ends when the client leaves its loop, and
// when the context of the client is canceled.
func testStreamLeft(t *testing.T, f *fixture) {
	f.startStreams(t)
	stream, err := f.watch(bounded(t), "Watch", &WatchRequest{Count: 2, How: "wait"})
	if err != nil {
		t.Fatal(err)
	}
	for item, err := range stream {
		if item == nil {
			t.Errorf("first item: got the error %v, want an item", err)
		}
		break
	}
	if cause := receive(t, f.streams.ended, "the end of the iterator"); cause == nil {
		t.Error("got an iterator whose context has no cause, want one whose context is done")
	}
	ctx, cancel := context.WithCancel(bounded(t))
	defer cancel()
	stream, err = f.watch(ctx, "Watch", &WatchRequest{Count: 1, How: "wait"})
	if err != nil {
		t.Fatal(err)
	}
	for _, err = range stream {
		cancel()
	}
	if chassi.ErrorOf(err).Code != chassi.Canceled {
		t.Errorf("canceled stream ended with %v, want canceled", err)
	}
	_ = receive(t, f.streams.ended, "the end of the iterator")
	for item, err := range stream {
		if item != nil || err == nil {
			t.Errorf("second use of the iterator: got the item %v and the error %v, want only an error", item, err)
		}
	}
}

// testStreamDeadlines verifies that a deadline of the client applies to a whole stream, and that
// the timeout of calls applies only until the stream is open.
func testStreamDeadlines(t *testing.T, f *fixture) {
	f.startStreams(t, func(o *Options) { o.Timeout = 300 * time.Millisecond })
	if _, err := f.watch(bounded(t), "Watch", &WatchRequest{How: "open slowly"}); chassi.ErrorOf(err).Code != chassi.DeadlineExceeded {
		t.Errorf("stream that does not open: got %v, want deadline_exceeded", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	began := time.Now()
	items, err := f.all(ctx, &WatchRequest{Count: 1, How: "wait"})
	if took := time.Since(began); len(items) != 1 || chassi.ErrorOf(err).Code != chassi.DeadlineExceeded || took < time.Second {
		t.Errorf("got %d items, then %v after %v, want 1 item, then deadline_exceeded after 1s or more", len(items), err, took)
	}
	_ = receive(t, f.streams.ended, "the end of the iterator")
}

// testStreamIdle verifies that a stream without items stays open for longer than the timeout of
// calls, and for longer than a client waits for heartbeats. If CHASSI_SOAK is set, the stream stays
// open for five minutes, with the default heartbeat interval.
func testStreamIdle(t *testing.T, f *fixture) {
	pause, ctx := 2*time.Second, bounded(t)
	if os.Getenv("CHASSI_SOAK") != "" {
		pause, ctx = 5*time.Minute, t.Context()
	}
	f.startStreams(t, func(o *Options) {
		o.Timeout = 300 * time.Millisecond
		if pause > time.Minute {
			o.Timeout, o.Streams.Heartbeat = 10*time.Second, 0
		}
	})
	time.AfterFunc(pause, func() { close(f.streams.resumed) })
	items, err := f.all(ctx, &WatchRequest{Count: 1, How: "pause"})
	if err != nil || len(items) != 2 || items[1].Number != -1 {
		t.Errorf("got %d items, then the error %v, want 2 items, the second with the number -1, and no error", len(items), err)
	}
}

// testStreamStalls verifies that a client that does not read blocks the iterator, and that the
// iterator ends after the timeout for sending an item.
func testStreamStalls(t *testing.T, f *fixture) {
	if f.startStreams(t, func(o *Options) { o.Streams.SendTimeout = time.Second }); f.Send == nil {
		return // a caller in the process may take any time
	}
	ctx, cancel := context.WithCancel(bounded(t))
	defer cancel()
	if _, err := f.watch(ctx, "Watch", &WatchRequest{Count: 100_000, Size: 10 << 10}); err != nil {
		t.Fatal(err)
	}
	_ = receive(t, f.streams.ended, "the end of the iterator")
	if n := f.streams.yielded.Load(); n > 10_000 {
		t.Errorf("the server sent %d items of 10 KiB to a client that reads nothing, want at most 10000", n)
	}
}

// testStreamAges verifies that a stream ends at its maximum age, and when the credentials of its
// principal expire.
func testStreamAges(t *testing.T, f *fixture) {
	if f.startStreams(t, func(o *Options) { o.Streams.MaxAge = 2 * time.Second }); f.Send == nil {
		return // in process the settings are the defaults
	}
	_, err := f.all(bounded(t), &WatchRequest{How: "wait"})
	if e := chassi.ErrorOf(err); e == nil || e.Code != chassi.Unavailable || e.Reason != "stream_expired" || e.RetryAfter < time.Second {
		t.Errorf("idle stream at its maximum age: got %v with the retry delay %v, want unavailable with the reason stream_expired and a delay of at least 1s", err, delayOf(err))
	}
	if _, err = f.all(bounded(t), &WatchRequest{How: "tick"}); chassi.ErrorOf(err).Reason != "stream_expired" {
		t.Errorf("busy stream at its maximum age: got %v, want the reason stream_expired", err)
	}
	c := f.with(t, "Authorization", "Bearer brief-"+secret)
	stream, err := client.Stream[Item](bounded(t), c, "Mine", &WatchRequest{How: "wait"})
	if err != nil {
		t.Fatal(err)
	}
	for _, err = range stream { //nolint:revive // the last one counts
	}
	if e := chassi.ErrorOf(err); e == nil || e.Code != chassi.Unauthenticated || e.Reason != "token_expired" {
		t.Errorf("stream with expired credentials: got %v, want unauthenticated with the reason token_expired", err)
	}
}

// testStreamLimits verifies that the number of open streams of a principal is limited, and that an
// item that is too large ends its stream.
func testStreamLimits(t *testing.T, f *fixture) {
	f.startStreams(t, func(o *Options) { o.Streams.MaxPrincipal, o.Streams.MaxItemBytes = 2, 1000 })
	if f.Send == nil {
		return // in process the settings are the defaults
	}
	c := f.with(t, "Authorization", "Bearer user-"+secret)
	for range 2 {
		if _, err := client.Stream[Item](bounded(t), c, "Mine", &WatchRequest{How: "wait"}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := client.Stream[Item](bounded(t), c, "Mine", &WatchRequest{How: "wait"}); chassi.ErrorOf(err).Code != chassi.ResourceExhausted {
		t.Errorf("third stream of a principal: got %v, want resource_exhausted", err)
	}
	items, err := f.all(bounded(t), &WatchRequest{Count: 3, Size: 1000})
	if e := chassi.ErrorOf(err); len(items) != 0 || e == nil || e.Reason != "item_too_large" {
		t.Errorf("item above the limit: got %d items, then %v, want 0 items, then the reason item_too_large", len(items), err)
	}
}

// testStreamDrain verifies that a stopping server ends subscriptions with a retry delay, and waits
// for finite streams.
func testStreamDrain(t *testing.T, f *fixture) {
	f.startStreams(t)
	type result struct {
		name  string
		items int
		err   error
	}
	results, opened := make(chan result, 2), make(chan struct{}, 2)
	for _, name := range []string{"Watch", "Export"} {
		stream, err := f.watch(bounded(t), name, &WatchRequest{Count: 1, How: "pause"})
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			r := result{name: name}
			for item, err := range stream {
				if r.err = err; item == nil {
					break
				}
				if r.items++; r.items == 1 {
					opened <- struct{}{}
				}
			}
			results <- r
		}()
	}
	_ = receive(t, opened, "an item")
	_ = receive(t, opened, "an item")
	stopped := make(chan error, 1)
	f.stopped = true
	go func() { stopped <- f.Server.Stop(bounded(t)) }()
	r := receive(t, results, "the end of the subscription")
	if e := chassi.ErrorOf(r.err); r.name != "Watch" || e == nil || e.Code != chassi.Unavailable || e.RetryAfter < time.Second {
		t.Errorf("%s ended first with %v and the retry delay %v, want Watch with unavailable and a delay of at least 1s", r.name, r.err, delayOf(r.err))
	}
	close(f.streams.resumed)
	if r := receive(t, results, "the end of the finite stream"); r.err != nil || r.items != 2 {
		t.Errorf("%s ended with %d items and the error %v, want 2 items and no error", r.name, r.items, r.err)
	}
	if err := receive(t, stopped, "the stop"); err != nil {
		t.Errorf("Stop returned the error %v, want none", err)
	}
}

// testStreamTelemetry verifies that a stream has one log line at the server, and one span each at
// the server and the client.
func testStreamTelemetry(t *testing.T, f *fixture) {
	f.startStreams(t)
	if _, err := f.all(bounded(t), &WatchRequest{Count: 7}); err != nil {
		t.Fatal(err)
	}
	f.stop(t) // the server's side may end after the client's
	if lines := strings.Count(f.log.String(), `"msg":"call"`); lines != 1 || !strings.Contains(f.log.String(), `"items":7`) {
		t.Errorf("got %d log lines for calls, want 1 with 7 items:\n%s", lines, f.log.String())
	}
	spans := f.spans.Ended()
	if len(spans) != 2 || spans[0].SpanContext().TraceID() != spans[1].SpanContext().TraceID() {
		t.Errorf("got %d spans, want 2 of the same trace", len(spans))
	}
}
