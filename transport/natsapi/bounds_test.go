package natsapi_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/internal/broker"
	"github.com/chassi-go/chassi/internal/worktest"
	"github.com/chassi-go/chassi/transport"
	"github.com/chassi-go/chassi/transport/natsapi"
	"github.com/chassi-go/chassi/transport/natsapi/embedded"
)

// An error that is too large for the server's max_payload, however small that is, keeps its
// code, reason and request ID.
func TestErrorAboveASmallMaxPayload(t *testing.T) {
	t.Parallel()
	b := startEmbedded(t, "", func(c *embedded.Config) { c.MaxPayload = 1024 })
	fail := func(context.Context, *worktest.Job) (*worktest.Nothing, error) {
		return nil, chassi.NewError(chassi.NotFound, "no_such_job", strings.Repeat("x", 2000))
	}
	defer stop(t, start(t, natsapi.Config{Broker: b, Logger: quiet}, nil, worktest.Service(fail)))
	var id string
	c, err := client.New(worktest.Service(fail), dial(t, b.client(t)), func(_ *chassi.Binding, next chassi.Handler) chassi.Handler {
		return func(ctx context.Context, call *chassi.Call) error {
			err := next(ctx, call)
			id = call.Out.Get("X-Request-Id")
			return err
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.Invoke[worktest.Nothing](t.Context(), c, "Do", &worktest.Job{})
	if e := chassi.ErrorOf(err); e == nil || e.Code != chassi.NotFound || e.Reason != "no_such_job" || id == "" {
		t.Errorf("%v, request id %q", err, id)
	}
}

// A message that max_payload has become too small for ends as a dead letter without its body,
// after it was delivered so often that somebody could have raised max_payload.
func TestMessageAboveALoweredMaxPayload(t *testing.T) {
	t.Parallel()
	dir, q := t.TempDir(), transport.Queue{Name: "jobs", MaxAttempts: 1, Delay: time.Millisecond, MaxDelay: time.Millisecond}
	before := startEmbedded(t, dir, func(c *embedded.Config) { c.MaxPayload = 8192 })
	large := worktest.Job{Fail: "permanent", Padding: strings.Repeat("x", 6000)}
	if err := publisher(t, natsapi.ClientConfig{URL: before.URL(), Options: before.WorkOptions()}, q)("large", &large); err != nil {
		t.Fatal(err)
	}
	stop(t, before)
	after := startEmbedded(t, dir, func(c *embedded.Config) { c.MaxPayload = 4096 })
	events, log, d := make(chan string, 10), new(journal), worktest.NewDone()
	s := consume(t, natsapi.Config{Broker: after, Logger: log.logger(), Observe: func(event string) { events <- event }}, q, d)
	js := streams(t, after.URL(), after.WorkOptions()...)
	letter := deadLetters(t, js, "jobs_dead", 1)[0]
	if letter.Body != "" || letter.ID != "large" || letter.Headers[broker.ReasonKey] != "bad_job" || letter.Headers["Dropped-Bytes"] == "" {
		t.Errorf("the dead letter has %d bytes and the headers %v", len(letter.Body), letter.Headers)
	}
	if event := <-events; event != "body_dropped" {
		t.Errorf("%s was observed", event)
	}
	stop(t, s)
	if text := log.String(); strings.Count(text, "raise max_payload") != 1 || strings.Count(text, "without its body") != 1 {
		t.Errorf("the log:\n%.2000s", text)
	}
	if n := d.Times["large"]; n != q.MaxAttempts+transport.ExtraDeliveries {
		t.Errorf("%d deliveries", n)
	}
	stream, err := js.Stream(t.Context(), "jobs")
	if err != nil {
		t.Fatal(err)
	}
	if n := stream.CachedInfo().State.Msgs; n != 0 || s.Stats().DeadLettered["jobs"] != 1 {
		t.Errorf("%d messages are left, %d were dead-lettered", n, s.Stats().DeadLettered["jobs"])
	}
}
