package broker_test

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/broker"
	"github.com/chassi-go/chassi/middleware"
	"github.com/chassi-go/chassi/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type note struct {
	Text string `json:"text"`
	Deep []note `json:"deep"`
}

func route(t testing.TB, around ...chassi.Middleware) *broker.Route {
	t.Helper()
	e := chassi.NewEndpoint("Echo", func(_ context.Context, n *note) (*note, error) { return n, nil }, chassi.Public)
	rt, err := broker.NewRoute(e, &broker.Options{Transport: "test", MaxBytes: 4096, MaxJSONDepth: 8, Logger: slog.New(slog.DiscardHandler), Middleware: around})
	if err != nil {
		t.Fatal(err)
	}
	return rt
}

func TestAResponseHasTheFormatOfItsRequest(t *testing.T) {
	t.Parallel()
	rt := route(t)
	for kind, c := range map[string]struct{ body, want, wantKind string }{
		"":                                {`{"text":"a"}`, `{"text":"a","deep":[]}`, broker.JSON},
		"application/json; charset=utf-8": {`{"text":"a"}`, `{"text":"a","deep":[]}`, broker.JSON},
		broker.Protobuf:                   {"\x0a\x01a", "\x0a\x01a", broker.Protobuf},
	} {
		in := transport.Pairs{{Key: broker.ContentTypeKey, Value: kind}, {Key: "x-request-id", Value: "request-1"}}
		a := rt.Handle(t.Context(), broker.Request{Arrived: time.Now(), Header: &in, Body: []byte(c.body)})
		if a.Err != nil || string(a.Body) != c.want || a.Header.Get(broker.ContentTypeKey) != c.wantKind || a.Header.Get("X-Request-Id") != "request-1" {
			t.Errorf("%q: %q %v %v", kind, a.Body, a.Header, a.Err)
		}
	}
	a := rt.Handle(t.Context(), broker.Request{Arrived: time.Now(), Header: new(transport.Pairs), Bare: true, Body: []byte(`{"text":"a"}`)})
	if len(a.Header) != 0 || a.Err != nil {
		t.Errorf("a request without headers got %v", a.Header)
	}
	for body, want := range map[string]string{strings.Repeat(" ", 5000): "body_too_large", "{": "malformed_request"} {
		a := rt.Handle(t.Context(), broker.Request{Arrived: time.Now(), Header: new(transport.Pairs), Bare: true, Body: []byte(body)})
		if a.Err == nil || a.Err.Reason != want || a.Header.Get(broker.ReasonKey) != want || a.Header.Get("X-Request-Id") == "" {
			t.Errorf("%.5q: %+v %v", body, a.Err, a.Header)
		}
	}
}

// The time that a message has waited is the caller's time too.
func TestTheDeadlineCountsFromTheArrival(t *testing.T) {
	t.Parallel()
	in := transport.Pairs{{Key: transport.TimeoutKey, Value: "1000"}}
	rt := route(t, middleware.Timeout(time.Minute))
	if a := rt.Handle(t.Context(), broker.Request{Arrived: time.Now().Add(-2 * time.Second), Header: &in, Body: []byte(`{}`)}); a.Err == nil || a.Err.Code != chassi.DeadlineExceeded {
		t.Errorf("%+v", a.Err)
	}
	if a := rt.Handle(t.Context(), broker.Request{Arrived: time.Now(), Header: &in, Body: []byte(`{"text":"a"}`)}); a.Err != nil {
		t.Errorf("%+v", a.Err)
	}
}

func TestQueue(t *testing.T) {
	t.Parallel()
	q, err := transport.Queue{Name: "mail", MaxAttempts: 3, Delay: time.Second, MaxDelay: 3 * time.Second}.WithDefaults()
	if err != nil {
		t.Fatal(err)
	}
	for attempts, want := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 3: 3 * time.Second, 100: 3 * time.Second} {
		if d := q.DelayAfter(attempts); d != want {
			t.Errorf("after %d attempts %v, want %v", attempts, d, want)
		}
	}
	for asked, want := range map[time.Duration]time.Duration{0: time.Second, time.Second / 2: time.Second, 2500 * time.Millisecond: 2500 * time.Millisecond, 24 * time.Hour: 3 * time.Second} {
		if d := q.RetryDelay(1, chassi.NewError(chassi.Unavailable, "a", "b").WithRetryAfter(asked)); d != want {
			t.Errorf("for a retry after %v %v, want %v", asked, d, want)
		}
	}
	permanent := []chassi.Code{
		chassi.InvalidArgument, chassi.NotFound, chassi.AlreadyExists, chassi.PermissionDenied, chassi.FailedPrecondition,
		chassi.OutOfRange, chassi.Unimplemented, chassi.DataLoss, chassi.Unauthenticated,
	}
	for _, code := range chassi.Codes() {
		e := chassi.NewError(code, "a", "b")
		first, last := q.Classify(e, 1), q.Classify(e, 3)
		if (first == transport.DeadLetter) != slices.Contains(permanent, code) || last != transport.DeadLetter {
			t.Errorf("%v: %v, then %v", code, first, last)
		}
	}
	if q.Classify(nil, 3) != transport.Done {
		t.Error("a success")
	}
}

// Whatever comes in, one response comes out: a success, or an error of the caller.
func FuzzHandle(f *testing.F) {
	f.Add("", "", []byte(`{"text":"a"}`))
	f.Add(broker.Protobuf, "5", []byte("\x0a\x01a\x12\x02\x0a\x00"))
	f.Add("text/plain", "-1", []byte("\xff"))
	f.Add(broker.JSON+";", "99999999999", []byte(`{"deep":[{"deep":[{}]}]}`))
	rt := route(f)
	f.Fuzz(func(t *testing.T, kind, timeout string, body []byte) {
		in := transport.Pairs{{Key: broker.ContentTypeKey, Value: kind}, {Key: transport.TimeoutKey, Value: timeout}, {Key: "X-Request-Id", Value: kind}}
		a := rt.Handle(t.Context(), broker.Request{Arrived: time.Now(), Header: &in, Body: body})
		if a.Err != nil && a.Err.Code != chassi.InvalidArgument && a.Err.Code != chassi.ResourceExhausted && a.Err.Code != chassi.DeadlineExceeded {
			t.Errorf("%+v", a.Err)
		}
		if len(a.Header.Get("X-Request-Id")) < 8 {
			t.Errorf("%v", a.Header)
		}
	})
}

// What is wrong with the details of a fault loses the details, and nothing else.
func TestMalformedDetailsLoseTheDetails(t *testing.T) {
	t.Parallel()
	remote, err := broker.NewRemote(route(t).Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]int{"null": 0, "7": 0, `[{"@type":"a.B"},7]`: 1, `["` + strings.Repeat("x", 100<<10) + `"]`: 0} {
		call := &chassi.Call{Out: &transport.Pairs{{Key: broker.CodeKey, Value: "aborted"}}, Response: new(note)}
		err := remote.Read(call, []byte(`{"code":"aborted","error":"taken","message":"It is taken","details":`+text+`}`))
		if e := chassi.ErrorOf(err); e == nil || e.Code != chassi.Aborted || e.Reason != "taken" || len(e.Details) != want {
			t.Errorf("%.40s: %v with %d details, want %d", text, err, len(e.Details), want)
		}
	}
}
