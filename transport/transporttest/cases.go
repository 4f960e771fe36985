package transporttest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/transport"
	"go.opentelemetry.io/otel/trace"
)

func full() *Message {
	yes := true
	return &Message{
		Word: "b c?&%ü", Text: "grüße \u2028 \x01", Number: -1 << 53, Factor: 0.1, List: []string{"", "x"}, Counts: map[string]int32{"": 0, "k": -7},
		At: time.Date(2026, 11, 21, 10, 0, 0, 5000, time.UTC), Maybe: &yes, Inner: Inner{Name: "n", Inner: &Inner{Name: "deep"}}, Raw: []byte{0, 255, 10},
		More: []Inner{{}, {Name: "m"}}, Took: -1500 * time.Millisecond,
	}
}

// Requests and responses arrive unchanged, for every type of field.
func testSuccess(t *testing.T, f *fixture) {
	f.start(t)
	sent := full()
	got, err := client.Invoke[Echo](bounded(t), f.client, "Echo", sent)
	if err != nil {
		t.Fatal(err)
	}
	want := *full()
	if got.Word != want.Word {
		t.Errorf("the word arrived as %q, want %q", got.Word, want.Word)
	}
	if reflect.TypeOf(f.Send) != nil && len(f.Send) > 0 {
		got.Message.Word = want.Word // a response has no path
	}
	if !got.Message.At.Equal(want.At) {
		t.Errorf("the time came back as %v", got.Message.At)
	}
	got.Message.At = want.At
	if !reflect.DeepEqual(got.Message, want) {
		t.Errorf("came back as\n%+v, want\n%+v", got.Message, want)
	}
	empty, err := client.Invoke[Echo](bounded(t), f.client, "Echo", &Message{Word: "w"})
	if err != nil || empty.Message.Text != "" || empty.Word != "w" {
		t.Errorf("an empty message came back as %+v, %v", empty, err)
	}
}

// Each code arrives with reason, message, violations and delay, and errors.Is finds the
// sentinel.
func testCodes(t *testing.T, f *fixture) {
	f.start(t)
	for _, code := range chassi.Codes() {
		_, err := client.Invoke[Nothing](bounded(t), f.client, "Fail", &Failure{Code: int32(code)})
		want := theError(code)
		e := chassi.ErrorOf(err)
		if !errors.Is(err, want) || e.Message != want.Message || e.RetryAfter != 2*time.Second {
			t.Errorf("%v arrived as %+v", code, e)
		}
		if violations := fmt.Sprint(e.Violations); violations != "[{list[0].name must not be é} { and more}]" {
			t.Errorf("%v: violations %s", code, violations)
		}
		if f.Send != nil && strings.Contains(err.Error(), hidden) {
			t.Errorf("%v shows its cause: %v", code, err)
		}
	}
	_, err := client.Invoke[Nothing](bounded(t), f.client, "Fail", &Failure{Code: int32(chassi.NotFound), How: "no reason"})
	if e := chassi.ErrorOf(err); e == nil || e.Code != chassi.NotFound || e.Message != "A message" || f.Send != nil && e.Reason != "not_found" {
		t.Errorf("an error without a reason arrived as %+v", e)
	}
	if _, err := client.Invoke[Nothing](bounded(t), f.client, "Fail", &Failure{Code: 99}); chassi.ErrorOf(err).Code != chassi.Internal {
		t.Errorf("a code that is none arrived as %v", err)
	}
}

// The client gets the details that the method set: structs as structs, encoded messages
// unchanged.
func testDetails(t *testing.T, f *fixture) {
	f.start(t)
	for _, code := range chassi.Codes() {
		_, err := client.Invoke[Nothing](bounded(t), f.client, "Fail", &Failure{Code: int32(code), How: "details"})
		if !errors.Is(err, theError(code)) {
			t.Errorf("%v arrived as %v", code, err)
		}
		got, ok := chassi.DetailOf[Detail](err)
		if !ok || !reflect.DeepEqual(&got, theDetail()) {
			t.Errorf("%v: the detail arrived as %+v, %v", code, got, ok)
		}
		if details := chassi.ErrorOf(err).Details; len(details) != 2 {
			t.Errorf("%v: %d details", code, len(details))
		} else if encoded, ok := details[1].(*chassi.EncodedDetail); !ok || encoded.Name != encodedName || string(encoded.Protobuf) != encodedBytes {
			t.Errorf("%v: the encoded detail arrived as %+v", code, details[1])
		}
	}
	_, err := client.Invoke[Nothing](bounded(t), f.client, "Fail", &Failure{Code: int32(chassi.NotFound)})
	if details := chassi.ErrorOf(err).Details; len(details) > 0 {
		t.Errorf("an error without details arrived with %+v", details)
	}
}

// Details that are too large, too many or cannot be sent are omitted; the error is sent.
func testLargeDetails(t *testing.T, f *fixture) {
	f.start(t)
	_, err := client.Invoke[Nothing](bounded(t), f.client, "Fail", &Failure{Code: int32(chassi.NotFound), How: "large details"})
	if want := theError(chassi.NotFound); !errors.Is(err, want) || chassi.ErrorOf(err).Message != want.Message {
		t.Errorf("arrived as %v", err)
	}
	if n := len(chassi.ErrorOf(err).Details); f.Send != nil && n > 16 {
		t.Errorf("%d details arrived", n)
	}
}

// The client gets no text of a foreign error; the log has all of it.
func testHiddenCause(t *testing.T, f *fixture) {
	f.start(t)
	_, err := client.Invoke[Nothing](bounded(t), f.client, "Fail", &Failure{How: "hidden"})
	e := chassi.ErrorOf(err)
	if e == nil || e.Code != chassi.Internal || e.Reason != "internal" || f.Send != nil && strings.Contains(err.Error(), hidden) {
		t.Errorf("arrived as %v", err)
	}
	if log := f.log.String(); !strings.Contains(log, hidden) {
		t.Errorf("the log does not have it:\n%s", log)
	}
}

// A panic fails one call; the server continues, and the stack is logged.
func testPanic(t *testing.T, f *fixture) {
	f.start(t)
	for _, how := range []string{"panic", "exit"} {
		_, err := client.Invoke[Nothing](bounded(t), f.client, "Fail", &Failure{How: how})
		if e := chassi.ErrorOf(err); e == nil || e.Code != chassi.Internal || f.Send != nil && strings.Contains(err.Error(), hidden) {
			t.Errorf("%s arrived as %v", how, err)
		}
	}
	if log := f.log.String(); !strings.Contains(log, "transporttest.(*suite).fail") {
		t.Errorf("no stack in the log:\n%s", log)
	}
	if _, err := client.Invoke[Echo](bounded(t), f.client, "Echo", full()); err != nil {
		t.Errorf("after the panics: %v", err)
	}
}

// A call whose deadline has passed is not executed.
func testDeadlinePassed(t *testing.T, f *fixture) {
	f.start(t)
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	_, err := client.Invoke[Echo](ctx, f.client, "Echo", full())
	if chassi.ErrorOf(err).Code != chassi.DeadlineExceeded || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want the deadline", err)
	}
	if n := f.service.echoed.Load(); n != 0 {
		t.Errorf("the method ran %d times", n)
	}
}

// The client gets an error at its deadline, and the server ends the call at about the same
// time.
func testDeadlineDuring(t *testing.T, f *fixture) {
	f.start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 250*time.Millisecond)
	defer cancel()
	_, err := client.Invoke[Echo](ctx, f.client, "Wait", &Nothing{})
	if chassi.ErrorOf(err).Code != chassi.DeadlineExceeded {
		t.Errorf("%v, want the deadline", err)
	}
	if ended := receive(t, f.service.ended, "the end of the call's context"); ended == nil {
		t.Error("the context of the call did not end")
	}
}

func testDeadlinePropagates(t *testing.T, f *fixture) {
	f.start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	want, _ := ctx.Deadline()
	answered := make(chan error, 1)
	go func() {
		_, err := client.Invoke[Echo](ctx, f.client, "Wait", &Nothing{})
		answered <- err
	}()
	got := receive(t, f.service.entered, "the call")
	if off := got.Sub(want).Abs(); off > 2*time.Second {
		t.Errorf("the server's deadline is off by %v", off)
	}
	f.service.release()
	if err := receive(t, answered, "the response"); err != nil {
		t.Error(err)
	}
}

// A client that cancels gets an error at once; if the transport supports it, the server ends
// the call.
func testCancel(t *testing.T, f *fixture) {
	f.start(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	answered := make(chan error, 1)
	go func() {
		_, err := client.Invoke[Echo](ctx, f.client, "Wait", &Nothing{})
		answered <- err
	}()
	receive(t, f.service.entered, "the call")
	cancel()
	if err := receive(t, answered, "the response"); chassi.ErrorOf(err).Code != chassi.Canceled || !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want canceled", err)
	}
	if f.transport.Cancels {
		_ = receive(t, f.service.ended, "the end of the call at the server")
	}
}

// with returns a client that adds pairs, alternating keys and values, to the metadata of its requests.
func (f *fixture) with(t *testing.T, pairs ...string) *client.Client {
	t.Helper()
	c, err := client.New(f.called, f.Caller, func(_ *chassi.Binding, next chassi.Handler) chassi.Handler {
		return func(ctx context.Context, call *chassi.Call) error {
			for i := 0; i < len(pairs); i += 2 {
				call.In.Set(pairs[i], pairs[i+1])
			}
			err := next(ctx, call)
			if err == nil && call.Endpoint.Name() == "Whoami" && call.Out.Get("x-reply") != "pair of the response" {
				t.Errorf("the pair of the response arrived as %q", call.Out.Get("x-reply"))
			}
			return err
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func testAuthentication(t *testing.T, f *fixture) {
	f.start(t)
	for name, c := range map[string]struct {
		pairs      []string
		method, as string
		code       chassi.Code
	}{
		"nobody":        {nil, "Whoami", "", chassi.Unauthenticated},
		"wrong token":   {[]string{"Authorization", "Bearer other"}, "Whoami", "", chassi.Unauthenticated},
		"user":          {[]string{"authorization", "Bearer user-" + secret}, "Whoami", "user", 0},
		"user as admin": {[]string{"Authorization", "Bearer user-" + secret}, "Admin", "", chassi.PermissionDenied},
		"admin":         {[]string{"Authorization", "bearer admin-" + secret}, "Admin", "admin", 0},
	} {
		who, err := client.Invoke[Who](bounded(t), f.with(t, c.pairs...), c.method, &Nothing{})
		switch {
		case c.code == 0 && (err != nil || who.Subject != c.as):
			t.Errorf("%s: %+v, %v", name, who, err)
		case c.code != 0 && (err == nil || chassi.ErrorOf(err).Code != c.code):
			t.Errorf("%s: %v, want %v", name, err, c.code)
		case name == "wrong token" && !errors.Is(err, errToken):
			t.Errorf("%s: %v, want the authenticator's error", name, err)
		}
	}
}

// A call made while serving another one carries its request id; any other call gets a new one.
func testRequestID(t *testing.T, f *fixture) {
	f.start(t)
	c := f.with(t, "Authorization", "Bearer user-"+secret)
	outer := &chassi.Call{RequestID: "request-of-the-outer-call"}
	who, err := client.Invoke[Who](outer.Context(bounded(t)), c, "Whoami", &Nothing{})
	if err != nil || who.RequestID != outer.RequestID {
		t.Errorf("%+v, %v", who, err)
	}
	who, err = client.Invoke[Who](bounded(t), c, "Whoami", &Nothing{})
	if err != nil || len(who.RequestID) < 8 {
		t.Errorf("%+v, %v", who, err)
	}
	who, err = client.Invoke[Who](bounded(t), f.with(t, "Authorization", "Bearer user-"+secret, "X-Request-Id", "short"), "Whoami", &Nothing{})
	if err != nil || who.RequestID == "short" {
		t.Errorf("a request id that is none was kept: %+v, %v", who, err)
	}
}

func testMetadata(t *testing.T, f *fixture) {
	f.start(t)
	who, err := client.Invoke[Who](bounded(t), f.with(t, "Authorization", "Bearer user-"+secret, "x-EXTRA", "a pair"), "Whoami", &Nothing{})
	if err != nil || who.Extra != "a pair" {
		t.Errorf("%+v, %v", who, err)
	}
}

// Both spans are in one trace: the server's span is the child of the client's.
func testTrace(t *testing.T, f *fixture) {
	f.start(t)
	if _, err := client.Invoke[Echo](bounded(t), f.client, "Echo", full()); err != nil {
		t.Fatal(err)
	}
	var outgoing, incoming trace.SpanContext
	var parent trace.SpanContext
	deadline := time.Now().Add(patience)
	for !outgoing.IsValid() || !incoming.IsValid() {
		for _, span := range f.spans.Ended() {
			if span.SpanKind() == trace.SpanKindClient {
				outgoing = span.SpanContext()
			} else if span.SpanKind() == trace.SpanKindServer {
				incoming, parent = span.SpanContext(), span.Parent()
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d spans", len(f.spans.Ended()))
		}
	}
	if incoming.TraceID() != outgoing.TraceID() || parent.SpanID() != outgoing.SpanID() || !parent.IsRemote() {
		t.Errorf("server %v below %v, client %v", incoming, parent, outgoing)
	}
}

func testSecrets(t *testing.T, f *fixture) {
	f.start(t)
	c := f.with(t, "Authorization", "Bearer user-"+secret)
	_, _ = client.Invoke[Who](bounded(t), c, "Whoami", &Nothing{})
	_, _ = client.Invoke[Nothing](bounded(t), c, "Fail", &Failure{Secret: secret, How: "panic"})
	_, _ = client.Invoke[Nothing](bounded(t), c, "Fail", &Failure{Secret: secret, Code: 13})
	_, _ = client.Invoke[Nothing](bounded(t), c, "Echo", &Message{Word: "w", Text: strings.Repeat(secret, 1000)})
	for _, send := range f.Send {
		_ = send(bounded(t), f.endpoint("Fail"), []byte(`{"secret":"`+secret+`","code":"`+secret+`"}`))
	}
	for _, span := range f.spans.Ended() {
		if text := fmt.Sprint(span.Attributes(), span.Status(), span.Events()); strings.Contains(text, secret) {
			t.Errorf("a span has the secret: %s", text)
		}
	}
	if log := f.log.String(); strings.Contains(log, secret) || !strings.Contains(log, `"msg":"call"`) {
		t.Errorf("the log has the secret, or nothing:\n%s", log)
	}
}

// A call of an unknown method fails at once with the code for it.
func testUnknownMethod(t *testing.T, f *fixture) {
	f.start(t)
	other := chassi.NewService("conformance.v1.Suite", chassi.NewEndpoint("Missing", newSuite().echo, chassi.Route("POST /missing/{word}"), chassi.Public))
	c, err := client.New(other, f.Caller)
	if err == nil {
		_, err = client.Invoke[Echo](bounded(t), c, "Missing", full())
		if e := chassi.ErrorOf(err); e == nil || e.Code != chassi.Unimplemented && e.Code != chassi.NotFound && e.Code != chassi.Unavailable {
			t.Errorf("%v", err)
		}
	}
	if errors.Is(bounded(t).Err(), context.DeadlineExceeded) {
		t.Error("it took forever")
	}
}

// An endpoint that is limited to other transports is neither served nor bound; the other endpoints
// of its service are.
func testOtherTransports(t *testing.T, f *fixture) {
	f.start(t)
	_, err := client.Invoke[Nothing](bounded(t), f.client, "Elsewhere", &uncarried{})
	if !errors.Is(err, transport.ErrNotServed) || !strings.Contains(err.Error(), "conformance.v1.Suite/Elsewhere is served over elsewhere, not over ") {
		t.Errorf("the client answered %v", err)
	}
	served := chassi.NewEndpoint("Elsewhere", newSuite().fail, chassi.Route("POST /elsewhere"), chassi.Public)
	c, err := client.New(chassi.NewService("conformance.v1.Suite", served), f.Caller)
	if err == nil {
		_, err = client.Invoke[Nothing](bounded(t), c, "Elsewhere", &Failure{})
		if e := chassi.ErrorOf(err); e == nil || e.Code != chassi.Unimplemented && e.Code != chassi.NotFound && e.Code != chassi.Unavailable {
			t.Errorf("the server answered %v", err)
		}
	}
}

// No more calls run concurrently than configured; the others wait or are refused with the
// proper code.
func testConcurrency(t *testing.T, f *fixture) {
	const limit, callers = 4, 16
	if f.start(t, func(o *Options) { o.MaxConcurrent = limit }); f.Send == nil {
		return // calls in process have no limit of their own
	}
	var wg sync.WaitGroup
	errs := make(chan error, callers)
	for range callers {
		wg.Go(func() {
			_, err := client.Invoke[Echo](bounded(t), f.client, "Wait", &Nothing{})
			errs <- err
		})
	}
	for range limit {
		receive(t, f.service.entered, "a call")
	}
	f.service.release()
	wg.Wait()
	if most := f.service.most.Load(); most > limit {
		t.Errorf("%d calls at once, want at most %d", most, limit)
	}
	served := 0
	for range callers {
		err := <-errs
		switch e := chassi.ErrorOf(err); {
		case err == nil:
			served++
		case e.Code != chassi.Unavailable && e.Code != chassi.ResourceExhausted:
			t.Errorf("a call too many: %v", err)
		}
	}
	if served < limit {
		t.Errorf("%d were served, want at least %d", served, limit)
	}
}

// Each of many concurrent calls gets its own response.
func testParallel(t *testing.T, f *fixture) {
	f.start(t)
	var wg sync.WaitGroup
	for caller := range 16 {
		wg.Go(func() {
			for i := range 25 {
				m := &Message{Word: "w", Number: int64(caller*1000 + i)}
				got, err := client.Invoke[Echo](bounded(t), f.client, "Echo", m)
				if err != nil || got.Message.Number != m.Number {
					t.Errorf("%d came back as %+v, %v", m.Number, got, err)
					return
				}
			}
		})
	}
	wg.Wait()
}
