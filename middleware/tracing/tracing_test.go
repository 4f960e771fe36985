package tracing_test

import (
	"context"
	"iter"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/calltest"
	"github.com/chassi-go/chassi/middleware/tracing"
	"github.com/chassi-go/chassi/transport"
)

var loopback = tracing.TrustNetworks(netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128"))

func everybody(*chassi.Call) bool { return true }

func tracer(sampler sdktrace.Sampler, trusted tracing.Trust) (chassi.Middleware, *tracetest.SpanRecorder) {
	recorder := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSampler(sampler), sdktrace.WithSpanProcessor(recorder))
	propagator := propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})
	return tracing.New(provider, propagator, trusted), recorder
}

const (
	traceID     = "0af7651916cd43dd8448eb211c80319c"
	traceparent = "00-" + traceID + "-b7ad6b7169203331-01"
)

func TestTracingContinuesTheCallersTrace(t *testing.T) {
	t.Parallel()
	mw, recorder := tracer(sdktrace.ParentBased(sdktrace.NeverSample()), everybody)
	var inside trace.SpanContext
	th := calltest.New(func(ctx context.Context) error {
		inside = trace.SpanContextFromContext(ctx)
		return calltest.ErrBroken
	}, chassi.Public)
	th.Call.In.Set("Traceparent", traceparent)
	_ = th.Run(t.Context(), mw)

	spans := recorder.Ended()
	if len(spans) != 1 {
		t.Fatalf("%d spans, want one", len(spans))
	}
	span := spans[0]
	if span.Name() != "POST /v1/things/{id}" || span.SpanKind() != trace.SpanKindServer || span.Status().Code != codes.Error ||
		span.SpanContext().TraceID().String() != traceID || span.Parent().SpanID().String() != "b7ad6b7169203331" ||
		!span.SpanContext().Equal(inside) {
		t.Errorf("%v %v %v %v", span.Name(), span.SpanKind(), span.Status(), span.SpanContext())
	}
	got := make(map[attribute.Key]string)
	for _, a := range span.Attributes() {
		got[a.Key] = a.Value.String()
	}
	for key, want := range map[attribute.Key]string{
		"http.request.method": "POST", "http.route": "/v1/things/{id}", "http.response.status_code": "413",
		"client.address": "192.0.2.7", "request.id": "request-0001", "error.type": "internal",
	} {
		if got[key] != want {
			t.Errorf("%s is %q, want %q", key, got[key], want)
		}
	}
	if span.Status().Description != "Internal error" {
		t.Errorf("the span tells %q: the cause stays hidden", span.Status().Description)
	}
}

// A call that is refused for what the caller did is no error of the span.
func TestTracingOfARefusal(t *testing.T) {
	t.Parallel()
	mw, recorder := tracer(sdktrace.AlwaysSample(), everybody)
	_ = calltest.New(func(context.Context) error { return calltest.ErrRefused }, chassi.Public).Run(t.Context(), mw)
	if s := recorder.Ended()[0].Status(); s.Code != codes.Unset {
		t.Errorf("%v", s)
	}
}

// An unsampled call has a trace ID for its log lines, and no span.
func TestTracingUnsampled(t *testing.T) {
	t.Parallel()
	mw, recorder := tracer(sdktrace.NeverSample(), everybody)
	var inside trace.SpanContext
	_ = calltest.New(func(ctx context.Context) error {
		inside = trace.SpanContextFromContext(ctx)
		return nil
	}, chassi.Public).Run(t.Context(), mw)
	if len(recorder.Ended()) != 0 || !inside.HasTraceID() || inside.IsSampled() {
		t.Errorf("%d spans, %v", len(recorder.Ended()), inside)
	}
}

// A traceparent that is invalid starts a trace of its own.
func TestTracingIgnoresAMalformedParent(t *testing.T) {
	t.Parallel()
	for _, parent := range []string{"nonsense", "00-" + traceID + "-0000000000000000-01", "ff-" + traceID + "-b7ad6b7169203331-01\r\n"} {
		mw, recorder := tracer(sdktrace.AlwaysSample(), everybody)
		th := calltest.New(calltest.Fine, chassi.Public)
		th.Call.In = calltest.Headers{Header: map[string][]string{"Traceparent": {parent}}}
		_ = th.Run(t.Context(), mw)
		if s := recorder.Ended()[0]; s.SpanContext().TraceID().String() == traceID || s.Parent().IsValid() {
			t.Errorf("%q was believed", parent)
		}
	}
}

// On the calling side the span is propagated, regardless of the caller's metadata.
func TestTracingOfAnOutgoingCall(t *testing.T) {
	t.Parallel()
	mw, recorder := tracer(sdktrace.AlwaysSample(), everybody)
	th := calltest.New(calltest.Fine, chassi.Public)
	th.Binding.Client = true
	th.Call.In.Set("Traceparent", traceparent)
	_ = th.Run(t.Context(), mw)
	span := recorder.Ended()[0]
	want := "00-" + span.SpanContext().TraceID().String() + "-" + span.SpanContext().SpanID().String() + "-01"
	if got := th.Call.In.Get("Traceparent"); got != want || span.SpanKind() != trace.SpanKindClient || got == traceparent {
		t.Errorf("%v, traceparent %s, want %s", span.SpanKind(), got, want)
	}
}

// R81: the trace context of a caller that is not trusted decides neither the sampling nor
// the IDs, and nothing of it is passed on; a sampled span has a link to it.
func TestTracingLinksToAnUntrustedCaller(t *testing.T) {
	t.Parallel()
	for _, sampler := range []sdktrace.Sampler{
		sdktrace.ParentBased(sdktrace.NeverSample()), sdktrace.ParentBased(sdktrace.AlwaysSample()), sdktrace.AlwaysSample(),
	} {
		mw, recorder := tracer(sampler, loopback)
		var inside trace.SpanContext
		var members int
		th := calltest.New(func(ctx context.Context) error {
			inside = trace.SpanContextFromContext(ctx)
			members = baggage.FromContext(ctx).Len()
			return nil
		}, chassi.Public)
		th.Call.In.Set("Traceparent", traceparent)
		th.Call.In.Set("Tracestate", "a=b")
		th.Call.In.Set("Baggage", "k=v")
		_ = th.Run(t.Context(), mw)

		if inside.TraceID().String() == traceID || !inside.IsValid() || inside.TraceState().Len() != 0 || members != 0 {
			t.Errorf("%s: inside: %v, %d members of baggage", sampler.Description(), inside, members)
		}
		ended := recorder.Ended()
		if !inside.IsSampled() {
			if len(ended) != 0 || !strings.Contains(sampler.Description(), "root:AlwaysOff") {
				t.Errorf("%s: %d spans", sampler.Description(), len(ended))
			}
			continue
		}
		if len(ended) != 1 || ended[0].Parent().IsValid() || len(ended[0].Links()) != 1 {
			t.Fatalf("%s: %d spans, want one without parent and with a link", sampler.Description(), len(ended))
		}
		link := ended[0].Links()[0].SpanContext
		if link.TraceID().String() != traceID || link.SpanID().String() != "b7ad6b7169203331" || link.TraceState().Len() != 0 {
			t.Errorf("%s: link to %v", sampler.Description(), link)
		}
	}
}

// Without a traceparent, or with a malformed one, there is nothing to link to.
func TestTracingWithoutALink(t *testing.T) {
	t.Parallel()
	for _, parent := range []string{"", "nonsense", traceparent + "0"} {
		mw, recorder := tracer(sdktrace.AlwaysSample(), loopback)
		th := calltest.New(calltest.Fine, chassi.Public)
		th.Call.In.Set("Traceparent", parent)
		_ = th.Run(t.Context(), mw)
		if links := recorder.Ended()[0].Links(); len(links) != 0 {
			t.Errorf("%q: %v", parent, links)
		}
	}
}

func TestTrustNetworks(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		transport, peer, name string
		want                  bool
	}{
		{"http", "127.0.0.1:5", "", true},
		{"grpc", "127.9.9.9:5", "", true},
		{"http", "[::1]:5", "", true},
		{"http", "[::ffff:127.0.0.1]:5", "", true},
		{"http", "192.0.2.7:5", "", false},
		{"http", "[2001:db8::1]:5", "", false},
		{"http", "[fe80::1%eth0]:5", "", false},
		{"http", "", "", false},
		{"nats", "", "nats:", false},
		{"nats", "", "nats:alice", true},
		{"amqp", "", "amqp:", false},
		{"amqp", "", "amqp:alice", true},
		{"nats", "192.0.2.7:0", "nats:gateway", false}, // for somebody else
		{"nats", "127.0.0.1:0", "nats:gateway", true},
		{"local", "", "", true},
		{"local", "192.0.2.7:5", "", true},
	} {
		call := &chassi.Call{Binding: &chassi.Binding{Transport: c.transport}, PeerName: c.name}
		if c.peer != "" {
			call.Peer = netip.MustParseAddrPort(c.peer)
		}
		if got := loopback(call); got != c.want {
			t.Errorf("%s from %q, %q: %v", c.transport, c.peer, c.name, got)
		}
	}
	if tracing.TrustNetworks()(&chassi.Call{Binding: &chassi.Binding{Transport: "http"}, Peer: netip.MustParseAddrPort("127.0.0.1:5")}) {
		t.Error("no network, and one trusts loopback")
	}
}

// No caller is trusted by default.
func TestTracingTrustsNoCallerByDefault(t *testing.T) {
	t.Parallel()
	mw, recorder := tracer(sdktrace.AlwaysSample(), nil)
	th := calltest.New(calltest.Fine, chassi.Public)
	th.Call.Peer = netip.MustParseAddrPort("127.0.0.1:5")
	th.Call.In.Set("Traceparent", traceparent)
	_ = th.Run(t.Context(), mw)
	if recorder.Ended()[0].Parent().IsValid() {
		t.Error("the parent was believed")
	}
}

// Of a trusted caller, too, no more than 8 KiB of trace state and of baggage is kept.
func TestTracingBoundsTrustedTraceState(t *testing.T) {
	t.Parallel()
	mw, recorder := tracer(sdktrace.AlwaysSample(), everybody)
	members := 0
	th := calltest.New(func(ctx context.Context) error { members = baggage.FromContext(ctx).Len(); return nil }, chassi.Public)
	th.Call.In.Set("Traceparent", traceparent)
	th.Call.In.Set("Tracestate", strings.Repeat(strings.Repeat("a", 250)+"="+strings.Repeat("b", 250)+",", 20))
	th.Call.In.Set("Baggage", strings.Repeat("k=v,", 3000))
	_ = th.Run(t.Context(), mw)
	if s := recorder.Ended()[0]; s.SpanContext().TraceState().Len() != 0 || members != 0 || !s.Parent().IsValid() {
		t.Errorf("%d members of trace state, %d of baggage, parent %v", s.SpanContext().TraceState().Len(), members, s.Parent())
	}
}

// Several headers of one name are one list, and baggage needs no trace.
func TestTracingReadsAllBaggage(t *testing.T) {
	t.Parallel()
	var longStates []string // each of a proper length
	for i := range 30 {
		longStates = append(longStates, string(rune('a'+i%26))+strings.Repeat(string(rune('a'+i/26)), 200)+"="+strings.Repeat("x", 200))
	}
	for name, c := range map[string]struct {
		header  map[string][]string
		trusted tracing.Trust
		baggage string
		state   string
	}{
		"several":                {map[string][]string{"Traceparent": {traceparent}, "Baggage": {"a=1", "b=2"}, "Tracestate": {"x=1", "y=2"}}, everybody, "a=1,b=2", "x=1,y=2"},
		"without a trace":        {map[string][]string{"Baggage": {"a=1,c=3", "b=2"}}, everybody, "a=1,b=2,c=3", ""},
		"together too long":      {map[string][]string{"Baggage": {"a=1", "b=" + strings.Repeat("x", 8<<10-5)}}, everybody, "", ""},
		"state too long":         {map[string][]string{"Traceparent": {traceparent}, "Tracestate": longStates}, everybody, "", ""},
		"of an untrusted client": {map[string][]string{"Baggage": {"a=1", "b=2"}}, loopback, "", ""},
	} {
		mw, _ := tracer(sdktrace.AlwaysSample(), c.trusted)
		var members []string
		var state string
		th := calltest.New(func(ctx context.Context) error {
			for _, m := range baggage.FromContext(ctx).Members() {
				members = append(members, m.String())
			}
			state = trace.SpanContextFromContext(ctx).TraceState().String()
			return nil
		}, chassi.Public)
		th.Call.In = calltest.Headers{Header: c.header}
		_ = th.Run(t.Context(), mw)
		slices.Sort(members)
		if got := strings.Join(members, ","); got != c.baggage || state != c.state {
			t.Errorf("%s: baggage %q, trace state %q", name, got, state)
		}
	}
}

// A stream has one span, which lasts until its end, without events.
func TestTracingOfAStream(t *testing.T) {
	t.Parallel()
	for _, client := range []bool{false, true} {
		mw, recorder := tracer(sdktrace.AlwaysSample(), everybody)
		th := calltest.NewStream(func(context.Context) (iter.Seq2[*calltest.Item, error], error) {
			return func(yield func(*calltest.Item, error) bool) {
				yield(&calltest.Item{Text: "one"}, nil)
				yield(&calltest.Item{Text: "three"}, nil)
				if n := len(recorder.Ended()); n != 0 {
					t.Errorf("%d spans ended before the stream", n)
				}
				yield(nil, calltest.ErrBroken)
			}, nil
		}, chassi.Public)
		th.Binding.Client = client
		_ = th.Run(t.Context(), mw)
		spans := recorder.Ended()
		if len(spans) != 1 || len(spans[0].Events()) != 0 || spans[0].Status().Code != codes.Error {
			t.Fatalf("%d spans: %+v", len(spans), spans)
		}
		got := make(map[attribute.Key]string)
		for _, a := range spans[0].Attributes() {
			got[a.Key] = a.Value.String()
		}
		if got["stream.items"] != "2" || got["stream.bytes"] != "8" || got["rpc.response.status_code"] != "13" {
			t.Errorf("attributes %v", got)
		}
	}
}

// The span of a client over HTTP has the code of the call, which is not an HTTP status.
func TestClientSpanHasTheCode(t *testing.T) {
	t.Parallel()
	mw, recorder := tracer(sdktrace.AlwaysSample(), everybody)
	th := calltest.New(func(context.Context) error { return calltest.ErrBroken }, chassi.Public)
	th.Binding.Client, th.Binding.Status = true, transport.CodeStatus
	_ = th.Run(t.Context(), mw)
	got := make(map[attribute.Key]string)
	for _, a := range recorder.Ended()[0].Attributes() {
		got[a.Key] = a.Value.String()
	}
	if status, ok := got["http.response.status_code"]; ok || got["rpc.response.status_code"] != "13" {
		t.Errorf("HTTP status %q, code %q", status, got["rpc.response.status_code"])
	}
}
