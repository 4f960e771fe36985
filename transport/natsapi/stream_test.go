package natsapi_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/transport"
	"github.com/chassi-go/chassi/transport/natsapi"
)

var _ client.Streamer = (*natsapi.Client)(nil)

type watch struct {
	Kind  string `json:"kind"`
	Count int    `json:"count"`
	Size  int    `json:"size"` // of each text
}

type quote struct {
	Number int    `json:"number"`
	Text   string `json:"text"`
}

var (
	errAbsent = chassi.NewError(chassi.NotFound, "absent", "There is no such feed")
	errBroken = chassi.NewError(chassi.FailedPrecondition, "broken", "It broke").WithRetryAfter(2 * time.Second)
)

// quotes is a service with streams.
type quotes struct {
	ended   chan error    // the causes of the ends of contexts, when the iterators return
	opening chan struct{} // when the kind "opening" is called
	resume  chan struct{} // for the kinds that wait
	sent    atomic.Int64
}

func newQuotes() *quotes {
	return &quotes{ended: make(chan error, 1000), opening: make(chan struct{}, 10), resume: make(chan struct{})}
}

func (q *quotes) watch(ctx context.Context, r *watch) (iter.Seq2[*quote, error], error) {
	switch r.Kind {
	case "absent":
		return nil, errAbsent
	case "empty":
		return nil, nil
	case "opening":
		q.opening <- struct{}{}
		<-q.resume
	}
	return func(yield func(*quote, error) bool) {
		defer func() { q.ended <- context.Cause(ctx) }()
		text := strings.Repeat("x", r.Size)
		for n := range r.Count {
			item := &quote{n + 1, text}
			if r.Kind == "zero" {
				item = new(quote)
			}
			if !yield(item, nil) {
				return
			}
			q.sent.Add(1)
		}
		switch r.Kind {
		case "breaks":
			yield(nil, errBroken)
		case "panics":
			panic("in an iterator")
		case "idle", "opening":
			<-ctx.Done()
		case "waits":
			select {
			case <-q.resume:
				yield(&quote{Text: "last"}, nil)
			case <-ctx.Done():
			}
		}
	}, nil
}

func (q *quotes) service() *chassi.Service {
	ping := func(context.Context, *struct{}) (*struct{}, error) { return &struct{}{}, nil }
	return chassi.NewService("quotes.v1.Quotes", chassi.NewStream("Watch", q.watch, chassi.Public),
		chassi.NewStream("Export", q.watch, chassi.Public, chassi.Finite), chassi.NewEndpoint("Ping", ping, chassi.Public))
}

// cause waits for the end of an iterator.
func (q *quotes) cause(t *testing.T) *chassi.Error {
	t.Helper()
	select {
	case err := <-q.ended:
		if err == nil {
			return nil
		}
		return chassi.ErrorOf(err)
	case <-time.After(30 * time.Second):
		t.Fatal("no iterator has ended within 30 s")
		return nil
	}
}

// onBrokers runs a test with a service on the embedded server and on an external one.
func onBrokers(t *testing.T, test func(t *testing.T, c natsapi.Config, cc natsapi.ClientConfig)) {
	t.Helper()
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		b := startEmbedded(t, "")
		test(t, natsapi.Config{Broker: b, Logger: quiet}, b.client(t))
	})
	t.Run("external", func(t *testing.T) {
		t.Parallel()
		url, prefix := external(t), "test"+strconv.FormatUint(rand.Uint64(), 36)
		test(t, natsapi.Config{URL: url, Prefix: prefix, Logger: quiet}, natsapi.ClientConfig{URL: url, Prefix: prefix})
	})
}

// serveQuotes serves until the end of the test.
func serveQuotes(t *testing.T, c natsapi.Config, q *quotes) *natsapi.Server {
	t.Helper()
	s := start(t, c, nil, q.service())
	t.Cleanup(func() { stop(t, s) })
	return s
}

func clientOf(t *testing.T, caller client.Caller) *client.Client {
	t.Helper()
	c, err := client.New(newQuotes().service(), caller)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// receive returns the items of a stream and its error; opened is whether there was an iterator.
func receive(ctx context.Context, c *client.Client, name string, r *watch) (items []*quote, opened bool, err error) {
	all, err := client.Stream[quote](ctx, c, name, r)
	if err != nil || all == nil {
		return nil, false, err
	}
	for item, err := range all {
		if err != nil {
			return items, true, err
		}
		items = append(items, item)
	}
	return items, true, nil
}

// wantError fails the test unless err has the code and the reason.
func wantError(t *testing.T, what string, err error, code chassi.Code, reason string) {
	t.Helper()
	e, ok := errors.AsType[*chassi.Error](err)
	if !ok || e.Code != code || e.Reason != reason {
		t.Errorf("%s: %v (%+v), want %v %s", what, err, e, code, reason)
	}
}

// plain is a stream as a program with the plain client library sees it.
type plain struct {
	conn    *nats.Conn
	subject string
	sub     *nats.Subscription
	control string
}

// openPlain opens a stream whose request is in JSON.
func openPlain(t *testing.T, cc natsapi.ClientConfig, request string) *plain {
	t.Helper()
	prefix := ""
	if cc.Prefix != "" {
		prefix = cc.Prefix + "."
	}
	return openOn(t, connect(t, cc), prefix, request)
}

func openOn(t *testing.T, conn *nats.Conn, prefix, request string) *plain {
	t.Helper()
	p := &plain{conn: conn, subject: prefix + "quotes.v1.Quotes.Watch"}
	inbox := p.conn.NewInbox()
	var err error
	if p.sub, err = p.conn.SubscribeSync(inbox); err != nil {
		t.Fatal(err)
	}
	if err := p.conn.PublishRequest(p.subject, inbox, []byte(request)); err != nil {
		t.Fatal(err)
	}
	first := p.next(t)
	if kindOf(first) != "open 0" || len(first.Data) == 0 {
		t.Fatalf("the first message: %v %q", first.Header, first.Data)
	}
	p.control = p.subject + "." + first.Header.Get("Stream-Control")
	return p
}

func (p *plain) next(t *testing.T) *nats.Msg {
	t.Helper()
	m, err := p.sub.NextMsg(30 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// kindOf returns the kind and the number of a message.
func kindOf(m *nats.Msg) string {
	return m.Header.Get("Stream-Kind") + " " + m.Header.Get("Stream-Seq")
}

// say sends a control message.
func (p *plain) say(t *testing.T, conn *nats.Conn, kind, seq string) {
	t.Helper()
	err := conn.PublishMsg(&nats.Msg{Subject: p.control, Header: nats.Header{"Stream-Kind": {kind}, "Stream-Seq": {seq}}})
	if err == nil {
		err = conn.FlushTimeout(20 * time.Second)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// An item that is larger than the credit, errors at each time, a panic, and items without a
// value, which have an empty encoding.
func TestStreams(t *testing.T) {
	t.Parallel()
	onBrokers(t, func(t *testing.T, c natsapi.Config, cc natsapi.ClientConfig) {
		q := newQuotes()
		serveQuotes(t, c, q)
		client := clientOf(t, dial(t, cc))
		for name, test := range map[string]struct {
			request watch
			items   int
			opened  bool
			code    chassi.Code
			reason  string
		}{
			"none":          {watch{Kind: "ends"}, 0, true, 0, ""},
			"many":          {watch{Kind: "ends", Count: 1000}, 1000, true, 0, ""},
			"large":         {watch{Kind: "ends", Count: 10, Size: 700 << 10}, 10, true, 0, ""},
			"half a credit": {watch{Kind: "ends", Count: 9, Size: 500_000}, 9, true, 0, ""},
			"zero":          {watch{Kind: "zero", Count: 200}, 200, true, 0, ""},
			"an error":      {watch{Kind: "breaks", Count: 100}, 100, true, chassi.FailedPrecondition, "broken"},
			"a panic":       {watch{Kind: "panics", Count: 3}, 3, true, chassi.Internal, "internal"},
			"an outer one":  {watch{Kind: "absent"}, 0, false, chassi.NotFound, "absent"},
			"nothing":       {watch{Kind: "empty"}, 0, false, 0, ""},
			"too large":     {watch{Kind: "ends", Count: 3, Size: 1 << 20}, 0, true, chassi.ResourceExhausted, "item_too_large"},
		} {
			items, opened, err := receive(t.Context(), client, "Watch", &test.request)
			if len(items) != test.items || opened != test.opened {
				t.Errorf("%s: %d items, opened %v, %v", name, len(items), opened, err)
			}
			for i, item := range items {
				if want := (quote{i + 1, strings.Repeat("x", test.request.Size)}); *item != want && test.request.Kind != "zero" || test.request.Kind == "zero" && *item != (quote{}) {
					t.Errorf("%s: item %d has number %d and %d bytes", name, i, item.Number, len(item.Text))
					break
				}
			}
			if test.code == 0 && err != nil {
				t.Errorf("%s: %v", name, err)
			} else if test.code != 0 {
				wantError(t, name, err, test.code, test.reason)
			}
			if test.reason == "broken" && chassi.ErrorOf(err).RetryAfter != 2*time.Second {
				t.Errorf("%s: the delay %v is lost", name, chassi.ErrorOf(err).RetryAfter)
			}
		}
	})
}

// An item above the server's max_payload ends its stream, and is told apart from a lost one.
func TestStreamItemAboveMaxPayload(t *testing.T) {
	t.Parallel()
	onBrokers(t, func(t *testing.T, c natsapi.Config, cc natsapi.ClientConfig) {
		c.Streams.MaxItemBytes = 4 << 20
		serveQuotes(t, c, newQuotes())
		items, _, err := receive(t.Context(), clientOf(t, dial(t, cc)), "Watch", &watch{Kind: "ends", Count: 2, Size: 2 << 20})
		if len(items) > 0 {
			t.Errorf("%d items", len(items))
		}
		wantError(t, "an item of 2 MiB", err, chassi.ResourceExhausted, "item_too_large")
	})
}

// A client that reads nothing gets its credit, and then an error; what waits for it is bounded.
func TestStreamCredit(t *testing.T) {
	t.Parallel()
	onBrokers(t, func(t *testing.T, c natsapi.Config, cc natsapi.ClientConfig) {
		c.Streams.SendTimeout = 300 * time.Millisecond
		q := newQuotes()
		serveQuotes(t, c, q)
		for size, credit := range map[int]int{0: 64, 99_974: 11} { // with the text's frame 100,000 bytes
			p := openPlain(t, cc, fmt.Sprintf(`{"kind":"ends","count":1000,"size":%d}`, size))
			for n := range credit {
				if m := p.next(t); kindOf(m) != "item "+strconv.Itoa(n+1) {
					t.Fatalf("%d bytes, message %d: %s", size, n, kindOf(m))
				}
			}
			m := p.next(t)
			if kindOf(m) != "error "+strconv.Itoa(credit) || !strings.Contains(string(m.Data), "client_stalled") {
				t.Errorf("%d bytes, behind the credit: %v %s", size, m.Header, m.Data)
			}
			if m := p.next(t); len(m.Data)+len(m.Header) > 0 {
				t.Errorf("%d bytes, behind the end: %v %s", size, m.Header, m.Data)
			}
			if cause := q.cause(t); cause == nil || cause.Reason != "client_stalled" {
				t.Errorf("%d bytes: the context ended with %v", size, cause)
			}
		}
	})
}

// A plain client that says how far it has read gets everything. Numbers that are too large,
// malformed messages and unknown kinds give no credit.
func TestStreamControl(t *testing.T) {
	t.Parallel()
	onBrokers(t, func(t *testing.T, c natsapi.Config, cc natsapi.ClientConfig) {
		q := newQuotes()
		serveQuotes(t, c, q)
		p := openPlain(t, cc, `{"kind":"ends","count":1000}`)
		for range 64 {
			p.next(t)
		}
		for _, forged := range [][2]string{{"read", "65"}, {"read", "9223372036854775807"}, {"read", "-1"}, {"read", ""}, {"read", "18446744073709551615"}, {"grant", "64"}, {"", "64"}, {"read", "0"}} {
			p.say(t, p.conn, forged[0], forged[1])
		}
		p.say(t, p.conn, "read", "1")
		if m := p.next(t); kindOf(m) != "item 65" {
			t.Fatal(kindOf(m))
		}
		if m, err := p.sub.NextMsg(200 * time.Millisecond); err == nil {
			t.Fatalf("%s beyond the credit", kindOf(m))
		}
		p.say(t, p.conn, "read", "65")
		p.say(t, p.conn, "read", "3") // overtaken
		for n := 66; n <= 1000; n++ {
			if m := p.next(t); kindOf(m) != "item "+strconv.Itoa(n) {
				t.Fatalf("%s, want %d", kindOf(m), n)
			}
			if n%32 == 0 {
				p.say(t, p.conn, "read", strconv.Itoa(n))
			}
		}
		if m := p.next(t); kindOf(m) != "end 1000" || len(m.Data) > 0 {
			t.Errorf("%v %s", m.Header, m.Data)
		}
		q.cause(t)
		p = openPlain(t, cc, `{"kind":"idle","count":3}`)
		p.say(t, p.conn, "cancel", "")
		if cause := q.cause(t); cause == nil || cause.Code != chassi.Canceled {
			t.Errorf("cancelled: %v", cause)
		}
	})
}

// A client that is gone loses its stream after three heartbeats, though it has credit left.
// Until then heartbeats arrive, which are never empty.
func TestStreamOfSilentClient(t *testing.T) {
	t.Parallel()
	onBrokers(t, func(t *testing.T, c natsapi.Config, cc natsapi.ClientConfig) {
		c.Streams.Heartbeat = time.Second
		q := newQuotes()
		serveQuotes(t, c, q)
		p := openPlain(t, cc, `{"kind":"idle","count":2}`)
		for _, want := range []string{"item 1", "item 2", "heartbeat 2"} {
			if m := p.next(t); kindOf(m) != want || len(m.Data) == 0 {
				t.Fatalf("%v %q, want %s", m.Header, m.Data, want)
			}
		}
		p.conn.Close()
		if cause := q.cause(t); cause == nil || cause.Reason != "client_silent" {
			t.Errorf("%v", cause)
		}
	})
}

// An idle stream stays open for longer than the timeout of calls and the patience of both sides.
func TestIdleStreamStaysOpen(t *testing.T) {
	t.Parallel()
	onBrokers(t, func(t *testing.T, c natsapi.Config, cc natsapi.ClientConfig) {
		c.Streams.Heartbeat, cc.Timeout = time.Second, 2*time.Second
		q := newQuotes()
		serveQuotes(t, c, q)
		time.AfterFunc(4*time.Second, func() { close(q.resume) })
		items, _, err := receive(t.Context(), clientOf(t, dial(t, cc)), "Watch", &watch{Kind: "waits"})
		if err != nil || len(items) != 1 {
			t.Errorf("%d items, %v", len(items), err)
		}
	})
}

// The server's iterator ends when the caller leaves the loop, when its context ends, and when it
// has left before the stream was open.
func TestLeavingAStreamCancelsIt(t *testing.T) {
	t.Parallel()
	onBrokers(t, func(t *testing.T, c natsapi.Config, cc natsapi.ClientConfig) {
		q := newQuotes()
		serveQuotes(t, c, q)
		caller := dial(t, cc)
		client1 := clientOf(t, caller)
		left := func(how string) {
			t.Helper()
			if cause := q.cause(t); cause == nil || cause.Code != chassi.Canceled || cause.Reason != "canceled" {
				t.Errorf("%s: %v", how, cause)
			}
		}
		all, err := client.Stream[quote](t.Context(), client1, "Watch", &watch{Kind: "idle", Count: 1})
		if err != nil {
			t.Fatal(err)
		}
		for range all {
			break
		}
		left("break")
		ctx, cancel := context.WithCancel(t.Context())
		if all, err = client.Stream[quote](ctx, client1, "Watch", &watch{Kind: "idle", Count: 1000}); err != nil {
			t.Fatal(err)
		}
		cancel() // and nobody ranges
		left("cancel")
		for _, err := range all {
			if err != nil && chassi.ErrorOf(err).Code != chassi.Canceled {
				t.Errorf("cancelled: %v", err)
			}
		}
		ctx, cancel = context.WithCancel(t.Context())
		go func() {
			<-q.opening
			cancel()
		}()
		if _, _, err := receive(ctx, client1, "Watch", &watch{Kind: "opening"}); chassi.ErrorOf(err).Code != chassi.Canceled {
			t.Errorf("while it opens: %v", err)
		}
		close(q.resume)
		left("while it opens")
	})
}

// The timeout of the client limits the opening.
func TestStreamIsOpenedInTime(t *testing.T) {
	t.Parallel()
	onBrokers(t, func(t *testing.T, c natsapi.Config, cc natsapi.ClientConfig) {
		cc.Timeout = 300 * time.Millisecond
		q := newQuotes()
		serveQuotes(t, c, q)
		defer close(q.resume)
		_, _, err := receive(t.Context(), clientOf(t, dial(t, cc)), "Watch", &watch{Kind: "opening"})
		wantError(t, "opening", err, chassi.DeadlineExceeded, "deadline_exceeded")
	})
}

// The deadline of the caller limits the whole stream, on both sides.
func TestDeadlineOfAStream(t *testing.T) {
	t.Parallel()
	onBrokers(t, func(t *testing.T, c natsapi.Config, cc natsapi.ClientConfig) {
		q := newQuotes()
		serveQuotes(t, c, q)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, _, err := receive(ctx, clientOf(t, dial(t, cc)), "Watch", &watch{Kind: "idle", Count: 1})
		wantError(t, "the client", err, chassi.DeadlineExceeded, "deadline_exceeded")
		q.cause(t)
	})
}

// Streams occupy no worker, and what one client may hold open is bounded.
func TestStreamsAreBounded(t *testing.T) {
	t.Parallel()
	onBrokers(t, func(t *testing.T, c natsapi.Config, cc natsapi.ClientConfig) {
		c.MaxConcurrent, c.MaxQueued, c.Streams.MaxPeer = 1, 100, 5
		q := newQuotes()
		serveQuotes(t, c, q)
		c1 := clientOf(t, dial(t, cc))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var streams []iter.Seq2[*quote, error]
		for range 5 {
			all, err := client.Stream[quote](ctx, c1, "Watch", &watch{Kind: "idle", Count: 1000})
			if err != nil {
				t.Fatal(err)
			}
			streams = append(streams, all)
		}
		// None of them is read: neither the worker nor the connection waits for them.
		if _, err := client.Invoke[struct{}](ctx, c1, "Ping", &struct{}{}); err != nil {
			t.Errorf("a call beside streams: %v", err)
		}
		_, _, err := receive(ctx, c1, "Watch", &watch{Kind: "ends"})
		wantError(t, "one too many", err, chassi.ResourceExhausted, "too_many_streams")
		for range streams[0] {
			break
		}
		q.cause(t)
		eventually(t, "one more is open", func() bool {
			_, _, err := receive(ctx, c1, "Watch", &watch{Kind: "ends"})
			return err == nil
		})
	})
}

// Subscriptions end with a delay when the server stops, finite streams complete.
func TestStreamsAtDrain(t *testing.T) {
	t.Parallel()
	onBrokers(t, func(t *testing.T, c natsapi.Config, cc natsapi.ClientConfig) {
		q := newQuotes()
		s := start(t, c, nil, q.service())
		c1 := clientOf(t, dial(t, cc))
		type result struct {
			items int
			err   error
		}
		watched, exported := make(chan result, 1), make(chan result, 1)
		follow := func(name string, results chan result) {
			all, err := client.Stream[quote](t.Context(), c1, name, &watch{Kind: "waits", Count: 200})
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				var r result
				for _, err := range all {
					if r.items++; err != nil {
						r.err = err
					}
				}
				results <- r
			}()
		}
		follow("Watch", watched)
		follow("Export", exported)
		eventually(t, "all is sent", func() bool { return q.sent.Load() == 400 })
		stopped := make(chan struct{})
		go func() { stop(t, s); close(stopped) }()
		r := <-watched
		wantError(t, "a subscription", r.err, chassi.Unavailable, "stopping")
		if e := chassi.ErrorOf(r.err); r.items != 201 || e.RetryAfter < time.Second {
			t.Errorf("%d items, and a delay of %v", r.items, e.RetryAfter)
		}
		select {
		case <-stopped:
			t.Fatal("the server has not waited for a finite stream")
		case <-exported:
			t.Fatal("a finite stream has ended")
		default:
		}
		close(q.resume)
		if r := <-exported; r.items != 201 || r.err != nil {
			t.Errorf("a finite stream: %+v", r)
		}
		<-stopped
	})
}

// A finite stream that does not end within the grace ends as Unavailable.
func TestGraceOfFiniteStreams(t *testing.T) {
	t.Parallel()
	onBrokers(t, func(t *testing.T, c natsapi.Config, cc natsapi.ClientConfig) {
		q := newQuotes()
		s := start(t, c, nil, q.service())
		all, err := client.Stream[quote](t.Context(), clientOf(t, dial(t, cc)), "Export", &watch{Kind: "waits"})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if err := s.Stop(ctx); err == nil || !strings.Contains(err.Error(), "quotes.v1.Quotes/Export (1)") {
			t.Errorf("%v", err)
		}
		for _, err = range all {
		}
		wantError(t, "a finite stream", err, chassi.Unavailable, "stopping")
	})
}

// When a NATS server ends, the streams of both sides end as Unavailable, long before three
// heartbeats.
func TestStreamsWithoutNATS(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr, _ := l.Addr().(*net.TCPAddr)
	_ = l.Close()
	n := privateServer(t, addr, "", "")
	url := n.ClientURL()
	q := newQuotes()
	s := start(t, natsapi.Config{URL: url, Logger: quiet}, nil, q.service())
	t.Cleanup(func() { stop(t, s) })
	all, err := client.Stream[quote](t.Context(), clientOf(t, dial(t, natsapi.ClientConfig{URL: url})), "Watch", &watch{Kind: "waits", Count: 3})
	if err != nil {
		t.Fatal(err)
	}
	items := 0
	for _, err = range all {
		if err != nil {
			break
		}
		if items++; items == 3 {
			end(n)
			eventually(t, "the service notices", func() bool { return !s.Connected() })
			close(q.resume)
		}
	}
	wantError(t, "the client", err, chassi.Unavailable, "unreachable")
	if cause := q.cause(t); cause == nil || cause.Code != chassi.Unavailable {
		t.Errorf("the service: %v", cause)
	}
}

// Without a service a stream is Unavailable at once.
func TestStreamWithoutService(t *testing.T) {
	t.Parallel()
	url := external(t)
	_, _, err := receive(t.Context(), clientOf(t, dial(t, natsapi.ClientConfig{URL: url, Prefix: "absent"})), "Watch", &watch{})
	wantError(t, "without a service", err, chassi.Unavailable, "unreachable")
	if !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("%v", err)
	}
}

// script is what a service says: kind, number and headers.
type script []nats.Header

func said(kind string, seq int, more ...string) nats.Header {
	h := nats.Header{"Stream-Kind": {kind}, "Stream-Seq": {strconv.Itoa(seq)}, "Content-Type": {"application/json"}}
	for i := 0; i < len(more); i += 2 {
		h[more[i]] = []string{more[i+1]}
	}
	return h
}

// What a service, or what is left of its messages, says is never a normal end unless it is
// complete.
func TestIncompleteStreams(t *testing.T) {
	t.Parallel()
	url, prefix := external(t), "test"+strconv.FormatUint(rand.Uint64(), 36)
	conn := connect(t, natsapi.ClientConfig{URL: url})
	open := said("open", 0, "Stream-Control", "stream.a.b", "Stream-Heartbeat-Ms", "1000")
	tests := map[string]struct {
		script script
		items  int
		code   chassi.Code
		reason string
	}{
		"silence":                {script{open, said("item", 1)}, 1, chassi.Unavailable, "stream_silent"},
		"complete":               {script{open, said("item", 1), said("end", 1)}, 1, 0, ""},
		"a lost item":            {script{open, said("item", 1), said("item", 3), said("end", 3)}, 1, chassi.DataLoss, "stream_gap"},
		"a lost last item":       {script{open, said("item", 1), said("end", 2)}, 1, chassi.DataLoss, "stream_gap"},
		"a heartbeat behind one": {script{open, said("heartbeat", 1), said("end", 1)}, 0, chassi.DataLoss, "stream_gap"},
		"an item twice":          {script{open, said("item", 1), said("item", 1), said("end", 1)}, 1, chassi.DataLoss, "stream_gap"},
		"a lost beginning":       {script{said("item", 1), said("end", 1)}, 0, chassi.DataLoss, "stream_gap"},
		"only an end":            {script{said("end", 3)}, 0, chassi.DataLoss, "stream_gap"},
		"two beginnings":         {script{open, open, said("end", 0)}, 0, chassi.Internal, "malformed_response"},
		"an empty message":       {script{open, said("item", 1), nil}, 1, chassi.Unavailable, "stream_truncated"},
		"no number":              {script{open, said("item", -1)}, 0, chassi.Internal, "malformed_response"},
		"an unknown kind":        {script{open, said("comment", 0)}, 0, chassi.Internal, "malformed_response"},
		"another control":        {script{said("open", 0, "Stream-Control", "a.>"), said("end", 0)}, 0, chassi.Internal, "malformed_response"},
		"an error without one":   {script{open, said("error", 0)}, 0, chassi.Unavailable, "stream_truncated"},
		"an error":               {script{open, said("error", 0, "Error-Code", "aborted")}, 0, chassi.Aborted, "aborted"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			prefix := prefix + strings.ReplaceAll(name, " ", "_")
			cancelled := make(chan struct{}, 100)
			if _, err := conn.Subscribe(prefix+".quotes.v1.Quotes.Watch.stream.a.b", func(m *nats.Msg) {
				if m.Header.Get("Stream-Kind") == "cancel" {
					cancelled <- struct{}{}
				}
			}); err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Subscribe(prefix+".quotes.v1.Quotes.Watch", func(m *nats.Msg) {
				for _, h := range test.script {
					body := []byte("{}")
					if h == nil || h.Get("Stream-Kind") == "end" || h.Get("Stream-Kind") == "error" {
						body = nil
					}
					_ = conn.PublishMsg(&nats.Msg{Subject: m.Reply, Header: h, Data: body})
				}
			}); err != nil {
				t.Fatal(err)
			}
			if err := conn.FlushTimeout(20 * time.Second); err != nil {
				t.Fatal(err)
			}
			items, _, err := receive(t.Context(), clientOf(t, dial(t, natsapi.ClientConfig{URL: url, Prefix: prefix})), "Watch", &watch{})
			if len(items) != test.items {
				t.Errorf("%d items, want %d", len(items), test.items)
			}
			if test.code == 0 {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantError(t, "the client", err, test.code, test.reason)
			if test.code == chassi.DataLoss && test.script[0].Get("Stream-Kind") == "open" {
				select {
				case <-cancelled:
				case <-time.After(30 * time.Second):
					t.Error("the stream was not cancelled")
				}
			}
		})
	}
}

// A queue carries no stream.
func TestQueuesRefuseStreams(t *testing.T) {
	t.Parallel()
	e := newQuotes().service().Endpoint("Watch")
	want := "work queue jobs: quotes.v1.Quotes/Watch is a stream, which a work queue cannot carry"
	if err := natsapi.New(natsapi.Config{}).Consume(transport.Queue{Name: "jobs"}, e); err == nil || err.Error() != "natsapi: "+want {
		t.Errorf("%v", err)
	}
	p, err := dial(t, natsapi.ClientConfig{URL: external(t)}).Publisher(transport.Queue{Name: "jobs"})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Publish(t.Context(), e, "", &watch{}); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v", err)
	}
}
