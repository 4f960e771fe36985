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

// testSuccess verifies that requests and responses arrive unchanged, for every type of field.
func testSuccess(t *testing.T, f *fixture) {
	f.start(t)
	sent := full()
	got, err := client.Invoke[Echo](bounded(t), f.client, "Echo", sent)
	if err != nil {
		t.Fatal(err)
	}
	want := *full()
	if got.Word != want.Word {
		t.Errorf("got the word %q, want %q", got.Word, want.Word)
	}
	if reflect.TypeOf(f.Send) != nil && len(f.Send) > 0 {
		got.Message.Word = want.Word // a response has no path
	}
	if !got.Message.At.Equal(want.At) {
		t.Errorf("got the time %v, want %v", got.Message.At, want.At)
	}
	got.Message.At = want.At
	if !reflect.DeepEqual(got.Message, want) {
		t.Errorf("got the message\n%+v, want\n%+v", got.Message, want)
	}
	empty, err := client.Invoke[Echo](bounded(t), f.client, "Echo", &Message{Word: "w"})
	if err != nil || empty.Message.Text != "" || empty.Word != "w" {
		t.Errorf("message without a text: got %+v, error %v, want the word \"w\", no text and no error", empty, err)
	}
}

// testCodes verifies that an error with any code arrives with its reason, message, violations and
// retry delay, and that errors.Is matches it.
func testCodes(t *testing.T, f *fixture) {
	f.start(t)
	for _, code := range chassi.Codes() {
		_, err := client.Invoke[Nothing](bounded(t), f.client, "Fail", &Failure{Code: int32(code)})
		want := theError(code)
		e := chassi.ErrorOf(err)
		if !errors.Is(err, want) || e.Message != want.Message || e.RetryAfter != 2*time.Second {
			t.Errorf("error with code %v: got %v with the retry delay %v, want %v with the delay 2s", code, err, delayOf(err), want)
		}
		const wantViolations = "[{list[0].name must not be é} { and more}]"
		if violations := fmt.Sprint(e.Violations); violations != wantViolations {
			t.Errorf("error with code %v: got the violations %s, want %s", code, violations, wantViolations)
		}
		if f.Send != nil && strings.Contains(err.Error(), hidden) {
			t.Errorf("error with code %v: got %v, want an error without its cause", code, err)
		}
	}
	_, err := client.Invoke[Nothing](bounded(t), f.client, "Fail", &Failure{Code: int32(chassi.NotFound), How: "no reason"})
	if e := chassi.ErrorOf(err); e == nil || e.Code != chassi.NotFound || e.Message != "A message" || f.Send != nil && e.Reason != "not_found" {
		t.Errorf("error without a reason: got %v, want not_found (not_found): A message", err)
	}
	if _, err := client.Invoke[Nothing](bounded(t), f.client, "Fail", &Failure{Code: 99}); chassi.ErrorOf(err).Code != chassi.Internal {
		t.Errorf("error with an invalid code: got %v, want internal", err)
	}
}

// testDetails verifies that the client receives the details that the method has set: structs can be
// decoded, and encoded messages are unchanged.
func testDetails(t *testing.T, f *fixture) {
	f.start(t)
	for _, code := range chassi.Codes() {
		_, err := client.Invoke[Nothing](bounded(t), f.client, "Fail", &Failure{Code: int32(code), How: "details"})
		if !errors.Is(err, theError(code)) {
			t.Errorf("error with code %v: got %v, want %v", code, err, theError(code))
		}
		got, ok := chassi.DetailOf[Detail](err)
		if !ok || !reflect.DeepEqual(&got, theDetail()) {
			t.Errorf("error with code %v: got the detail %+v (present: %v), want %+v", code, got, ok, *theDetail())
		}
		if details := chassi.ErrorOf(err).Details; len(details) != 2 {
			t.Errorf("error with code %v: got %d details, want 2", code, len(details))
		} else if encoded, ok := details[1].(*chassi.EncodedDetail); !ok || encoded.Name != encodedName || string(encoded.Protobuf) != encodedBytes {
			t.Errorf("error with code %v: got the second detail %+v, want an encoded detail %s with the bytes %q", code, details[1], encodedName, encodedBytes)
		}
	}
	_, err := client.Invoke[Nothing](bounded(t), f.client, "Fail", &Failure{Code: int32(chassi.NotFound)})
	if details := chassi.ErrorOf(err).Details; len(details) > 0 {
		t.Errorf("error without details: got the details %+v, want none", details)
	}
}

// testLargeDetails verifies that an error is sent without the details that are too large, are too
// many, or cannot be sent.
func testLargeDetails(t *testing.T, f *fixture) {
	f.start(t)
	_, err := client.Invoke[Nothing](bounded(t), f.client, "Fail", &Failure{Code: int32(chassi.NotFound), How: "large details"})
	if want := theError(chassi.NotFound); !errors.Is(err, want) || chassi.ErrorOf(err).Message != want.Message {
		t.Errorf("got the error %v, want %v", err, want)
	}
	if n := len(chassi.ErrorOf(err).Details); f.Send != nil && n > 16 {
		t.Errorf("error with 1002 details: got %d details, want at most 16", n)
	}
}

// testHiddenCause verifies that the text of an error that is not a chassi.Error is logged, but not
// sent to the client.
func testHiddenCause(t *testing.T, f *fixture) {
	f.start(t)
	_, err := client.Invoke[Nothing](bounded(t), f.client, "Fail", &Failure{How: "hidden"})
	e := chassi.ErrorOf(err)
	if e == nil || e.Code != chassi.Internal || e.Reason != "internal" || f.Send != nil && strings.Contains(err.Error(), hidden) {
		t.Errorf("got the error %v, want internal with the reason internal and without the cause", err)
	}
	if log := f.log.String(); !strings.Contains(log, hidden) {
		t.Errorf("got a log that does not contain the cause %q:\n%s", hidden, log)
	}
}

// testPanic verifies that a panic fails only its own call, that the stack is logged, and that the
// server continues.
func testPanic(t *testing.T, f *fixture) {
	f.start(t)
	for _, how := range []string{"panic", "exit"} {
		_, err := client.Invoke[Nothing](bounded(t), f.client, "Fail", &Failure{How: how})
		if e := chassi.ErrorOf(err); e == nil || e.Code != chassi.Internal || f.Send != nil && strings.Contains(err.Error(), hidden) {
			t.Errorf("%s: got %v, want internal without the cause", how, err)
		}
	}
	const frame = "transporttest.(*suite).fail"
	if log := f.log.String(); !strings.Contains(log, frame) {
		t.Errorf("got a log without a stack that contains %s:\n%s", frame, log)
	}
	if _, err := client.Invoke[Echo](bounded(t), f.client, "Echo", full()); err != nil {
		t.Errorf("call after the panics: got the error %v, want none", err)
	}
}

// testDeadlinePassed verifies that the method of a call whose deadline has passed does not run.
func testDeadlinePassed(t *testing.T, f *fixture) {
	f.start(t)
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	_, err := client.Invoke[Echo](ctx, f.client, "Echo", full())
	if chassi.ErrorOf(err).Code != chassi.DeadlineExceeded || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want deadline_exceeded caused by context.DeadlineExceeded", err)
	}
	if n := f.service.echoed.Load(); n != 0 {
		t.Errorf("the method ran %d times, want 0", n)
	}
}

// testDeadlineDuring verifies that a deadline that passes during a call ends the call, both at the
// client and at the server.
func testDeadlineDuring(t *testing.T, f *fixture) {
	f.start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 250*time.Millisecond)
	defer cancel()
	_, err := client.Invoke[Echo](ctx, f.client, "Wait", &Nothing{})
	if chassi.ErrorOf(err).Code != chassi.DeadlineExceeded {
		t.Errorf("got %v, want deadline_exceeded", err)
	}
	if ended := receive(t, f.service.ended, "the end of the call's context"); ended == nil {
		t.Error("got a call whose context has no error, want one whose context is done")
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
		t.Errorf("got the deadline %v at the server, want %v, at most 2s off", got, want)
	}
	f.service.release()
	if err := receive(t, answered, "the response"); err != nil {
		t.Errorf("call with a deadline: got the error %v, want none", err)
	}
}

// testCancel verifies that a client that cancels a call receives an error at once, and that the
// server ends the call if the transport supports this.
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
		t.Errorf("got %v, want canceled caused by context.Canceled", err)
	}
	if f.transport.Cancels {
		_ = receive(t, f.service.ended, "the end of the call at the server")
	}
}

// with returns a client that adds pairs, which are alternating keys and values, to the metadata of
// its requests. The client also verifies the metadata of the responses of Whoami.
func (f *fixture) with(t *testing.T, pairs ...string) *client.Client {
	t.Helper()
	c, err := client.New(f.called, f.Caller, func(_ *chassi.Binding, next chassi.Handler) chassi.Handler {
		return func(ctx context.Context, call *chassi.Call) error {
			for i := 0; i < len(pairs); i += 2 {
				call.In.Set(pairs[i], pairs[i+1])
			}
			err := next(ctx, call)
			if got := call.Out.Get("x-reply"); err == nil && call.Endpoint.Name() == "Whoami" && got != replyValue {
				t.Errorf("got the response metadata x-reply: %q, want %q", got, replyValue)
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
			t.Errorf("%s: got %+v, error %v, want the subject %q", name, who, err, c.as)
		case c.code != 0 && (err == nil || chassi.ErrorOf(err).Code != c.code):
			t.Errorf("%s: got %v, want %v", name, err, c.code)
		case name == "wrong token" && !errors.Is(err, errToken):
			t.Errorf("%s: got %v, want the authenticator's error %v", name, err, errToken)
		}
	}
}

// testRequestID verifies that a call made while another call is served has the same request ID, and
// that any other call, or a call with an invalid request ID, gets a new request ID.
func testRequestID(t *testing.T, f *fixture) {
	f.start(t)
	c := f.with(t, "Authorization", "Bearer user-"+secret)
	outer := &chassi.Call{RequestID: "request-of-the-outer-call"}
	who, err := client.Invoke[Who](outer.Context(bounded(t)), c, "Whoami", &Nothing{})
	if err != nil || who.RequestID != outer.RequestID {
		t.Errorf("call within a call: got %+v, error %v, want the request ID %q", who, err, outer.RequestID)
	}
	who, err = client.Invoke[Who](bounded(t), c, "Whoami", &Nothing{})
	if err != nil || len(who.RequestID) < 8 {
		t.Errorf("call without a request ID: got %+v, error %v, want a request ID of at least 8 bytes", who, err)
	}
	who, err = client.Invoke[Who](bounded(t), f.with(t, "Authorization", "Bearer user-"+secret, "X-Request-Id", "short"), "Whoami", &Nothing{})
	if err != nil || who.RequestID == "short" {
		t.Errorf("call with the invalid request ID \"short\": got %+v, error %v, want another request ID", who, err)
	}
}

func testMetadata(t *testing.T, f *fixture) {
	f.start(t)
	who, err := client.Invoke[Who](bounded(t), f.with(t, "Authorization", "Bearer user-"+secret, "x-EXTRA", "a pair"), "Whoami", &Nothing{})
	if err != nil || who.Extra != "a pair" {
		t.Errorf("got %+v, error %v, want the metadata X-Extra: \"a pair\"", who, err)
	}
}

// testTrace verifies that the span of the server is a child of the client's span in the same trace.
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
			t.Fatalf("got %d spans within %v, want one of the client and one of the server", len(f.spans.Ended()), patience)
		}
	}
	if incoming.TraceID() != outgoing.TraceID() || parent.SpanID() != outgoing.SpanID() || !parent.IsRemote() {
		t.Errorf("got the server's span %v with the parent %v (remote: %v), want the client's span %v as its remote parent", incoming, parent, parent.IsRemote(), outgoing)
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
			t.Errorf("got a span that contains the secret %q, want one that does not: %s", secret, text)
		}
	}
	log := f.log.String()
	if strings.Contains(log, secret) {
		t.Errorf("got a log that contains the secret %q, want one that does not:\n%s", secret, log)
	}
	if !strings.Contains(log, `"msg":"call"`) {
		t.Errorf("got a log without a line that contains \"msg\":\"call\":\n%s", log)
	}
}

// testUnknownMethod verifies that a call of an unknown method fails with Unimplemented, NotFound or
// Unavailable.
func testUnknownMethod(t *testing.T, f *fixture) {
	f.start(t)
	other := chassi.NewService("conformance.v1.Suite", chassi.NewEndpoint("Missing", newSuite().echo, chassi.Route("POST /missing/{word}"), chassi.Public))
	c, err := client.New(other, f.Caller)
	if err == nil {
		_, err = client.Invoke[Echo](bounded(t), c, "Missing", full())
		if e := chassi.ErrorOf(err); e == nil || e.Code != chassi.Unimplemented && e.Code != chassi.NotFound && e.Code != chassi.Unavailable {
			t.Errorf("unknown method: got %v, want unimplemented, not_found or unavailable", err)
		}
	}
}

// testOtherTransports verifies that an endpoint that is limited to other transports is neither
// served by the server nor bound by the client.
func testOtherTransports(t *testing.T, f *fixture) {
	f.start(t)
	_, err := client.Invoke[Nothing](bounded(t), f.client, "Elsewhere", &uncarried{})
	const text = "conformance.v1.Suite/Elsewhere is served over elsewhere, not over "
	if !errors.Is(err, transport.ErrNotServed) || !strings.Contains(err.Error(), text) {
		t.Errorf("the client returned %v, want transport.ErrNotServed with the text %q", err, text)
	}
	served := chassi.NewEndpoint("Elsewhere", newSuite().fail, chassi.Route("POST /elsewhere"), chassi.Public)
	c, err := client.New(chassi.NewService("conformance.v1.Suite", served), f.Caller)
	if err == nil {
		_, err = client.Invoke[Nothing](bounded(t), c, "Elsewhere", &Failure{})
		if e := chassi.ErrorOf(err); e == nil || e.Code != chassi.Unimplemented && e.Code != chassi.NotFound && e.Code != chassi.Unavailable {
			t.Errorf("the server responded with %v, want unimplemented, not_found or unavailable", err)
		}
	}
}

// testConcurrency verifies that at most MaxConcurrent calls run at the same time, and that further
// calls wait or are refused with Unavailable or ResourceExhausted.
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
		t.Errorf("%d calls ran concurrently, want at most %d", most, limit)
	}
	served := 0
	for range callers {
		err := <-errs
		switch e := chassi.ErrorOf(err); {
		case err == nil:
			served++
		case e.Code != chassi.Unavailable && e.Code != chassi.ResourceExhausted:
			t.Errorf("one of %d concurrent calls: got %v, want success, unavailable or resource_exhausted", callers, err)
		}
	}
	if served < limit {
		t.Errorf("%d calls were served, want at least %d", served, limit)
	}
}

// testParallel verifies that each of many concurrent calls receives its own response.
func testParallel(t *testing.T, f *fixture) {
	f.start(t)
	var wg sync.WaitGroup
	for caller := range 16 {
		wg.Go(func() {
			for i := range 25 {
				m := &Message{Word: "w", Number: int64(caller*1000 + i)}
				got, err := client.Invoke[Echo](bounded(t), f.client, "Echo", m)
				if err != nil || got.Message.Number != m.Number {
					t.Errorf("got %+v, error %v, want the number %d", got, err, m.Number)
					return
				}
			}
		})
	}
	wg.Wait()
}
