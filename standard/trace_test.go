package standard_test

import (
	"cmp"
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/transport/amqpapi"
	"github.com/chassi-go/chassi/transport/grpcapi"
	"github.com/chassi-go/chassi/transport/httpapi"
	"github.com/chassi-go/chassi/transport/localapi"
	"github.com/chassi-go/chassi/transport/natsapi"
)

// traceOf responds with the trace that its call belongs to.
func traceOf(ctx context.Context, _ *struct{}) (*greeting, error) {
	return &greeting{trace.SpanContextFromContext(ctx).TraceID().String()}, nil
}

func traced() *chassi.Service {
	return chassi.NewService("traced.v1.Traced", chassi.NewEndpoint("Trace", traceOf, chassi.Route("GET /trace"), chassi.Public))
}

// R81: over every transport, a caller's traceparent is believed where trace.trusted_networks says
// so, and from clients that a broker names, and starts no trace of the caller's choice elsewhere.
func TestTraceparentIsBelievedFromTrustedNetworks(t *testing.T) {
	t.Parallel()
	const traceID = "0af7651916cd43dd8448eb211c80319c"
	for networks, believed := range map[string]map[string]bool{
		"127.0.0.0/8,::1/128": {"http": true, "grpc": true, "nats": true, "amqp": true},
		"192.0.2.0/24":        {"nats": true, "amqp": true}, // clients that their brokers name
		"":                    {"nats": true, "amqp": true},
	} {
		c := defaults(t, "--trace.trusted_networks="+networks, "--amqp.url="+brokerURL(t), "--amqp.required=true", "--amqp.prefix=test-"+strings.ToLower(rand.Text()))
		c.AMQP.Expires = time.Minute
		r := start(t, c, traced())
		for name, caller := range callers(t, r, c) {
			response := call(t, caller, "00-"+traceID+"-b7ad6b7169203331-01")
			if got := response == traceID; got != believed[name] || len(response) != len(traceID) {
				t.Errorf("trace.trusted_networks=%q, over %s: trace %s", networks, name, response)
			}
		}
		r.stop(t)
	}
}

// Calls within the process go on with the trace that they are made in, whoever is trusted.
func TestTraceparentIsBelievedWithinTheProcess(t *testing.T) {
	t.Parallel()
	const traceID = "0af7651916cd43dd8448eb211c80319c"
	r := start(t, defaults(t, "--trace.trusted_networks="))
	local := localapi.New(r.Outgoing[0])
	if err := local.Mount(traced()); err != nil {
		t.Fatal(err)
	}
	if response := call(t, local, "00-"+traceID+"-b7ad6b7169203331-01"); response != traceID {
		t.Errorf("trace %s", response)
	}
	r.stop(t)
}

// brokerURL is RabbitMQ's, "off" without it.
func brokerURL(t *testing.T) string {
	t.Helper()
	url := os.Getenv("CHASSI_TEST_AMQP")
	if url == "" && os.Getenv("CI") == "" {
		return "off"
	}
	return cmp.Or(url, "amqp://guest:guest@127.0.0.1:5672/")
}

func callers(t *testing.T, r *running, c Config) map[string]client.Caller {
	t.Helper()
	overHTTP, err := httpapi.NewClient(httpapi.ClientConfig{URL: "http://" + r.HTTP.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(overHTTP.Close)
	overGRPC, err := grpcapi.Dial(grpcapi.ClientConfig{Target: r.Transport("grpc").(*grpcapi.Server).Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = overGRPC.Close() })
	overNATS, err := natsapi.Dial(t.Context(), natsapi.ClientConfig{
		URL: r.embedded.URL(), Login: natsapi.Login{NkeyFile: filepath.Join(c.NATS.Embedded.CredentialsDir, "default.nk")},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { overNATS.Close() })
	all := map[string]client.Caller{"http": overHTTP, "grpc": overGRPC, "nats": overNATS}
	if r.Transport("amqp") != nil {
		overAMQP, err := amqpapi.Dial(t.Context(), amqpapi.ClientConfig{URL: c.AMQP.URL, Prefix: c.AMQP.Prefix})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { overAMQP.Close() })
		all["amqp"] = overAMQP
	}
	return all
}

// call asks for the trace, with a traceparent of the caller's choice.
func call(t *testing.T, caller client.Caller, traceparent string) string {
	t.Helper()
	parent := func(_ *chassi.Binding, next chassi.Handler) chassi.Handler {
		return func(ctx context.Context, call *chassi.Call) error {
			call.In.Set("Traceparent", traceparent)
			return next(ctx, call)
		}
	}
	c, err := client.New(traced(), caller, parent)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Invoke[greeting](t.Context(), c, "Trace", &struct{}{})
	if err != nil {
		t.Fatal(err)
	}
	return response.Text
}
