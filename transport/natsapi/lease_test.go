package natsapi_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/proxytest"
	"github.com/chassi-go/chassi/internal/worktest"
	"github.com/chassi-go/chassi/transport"
	"github.com/chassi-go/chassi/transport/natsapi"
)

// A message is not given to a second instance while the first is at work on it, however
// long that takes.
func TestLongWorkIsDoneOnce(t *testing.T) {
	t.Parallel()
	url := jetStream(t)
	q, d := transport.Queue{Name: "jobs", Timeout: time.Hour}, worktest.NewDone()
	for range 2 {
		s := consume(t, natsapi.Config{URL: url, Logger: quiet}, q, d)
		defer stop(t, s)
	}
	conn, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	signs := make(chan *nats.Msg, 100)
	if _, err := conn.ChanSubscribe("$JS.ACK.jobs.>", signs); err != nil {
		t.Fatal(err)
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := publisher(t, natsapi.ClientConfig{URL: url}, q)("long", &worktest.Job{Fail: "wait"}); err != nil {
		t.Fatal(err)
	}
	d.Enter(t)
	for interval := natsapi.AckWait / natsapi.ProgressInterval; interval >= 0; interval-- { // longer than AckWait
		select {
		case m := <-signs:
			if string(m.Data) != "+WPI" {
				t.Fatalf("the message was settled: %s", m.Data)
			}
		case <-d.Entered:
			t.Fatal("the message was delivered again while it was worked on")
		case <-time.After(time.Minute):
			t.Fatal("no sign of work")
		}
	}
	close(d.Leave)
	d.Await(t, 1)
	if _, duplicates := d.Count(); duplicates != 0 {
		t.Errorf("%d duplicates", duplicates)
	}
}

// A call whose message another instance may have, because the connection is lost, is
// canceled, and does not settle the message.
func TestWorkEndsBeforeRedelivery(t *testing.T) {
	t.Parallel()
	url := jetStream(t)
	proxy := proxytest.New(t, strings.TrimPrefix(url, "nats://"))
	proxy.Open()
	began, ended := make(chan struct{}), make(chan error, 1)
	s := natsapi.New(natsapi.Config{URL: "nats://" + proxy.Addr, Logger: quiet})
	if err := s.Consume(transport.Queue{Name: "jobs", Timeout: time.Hour, MaxAttempts: 1}, worktest.Service(func(ctx context.Context, _ *worktest.Job) (*worktest.Nothing, error) {
		close(began)
		<-ctx.Done()
		ended <- ctx.Err()
		return nil, chassi.NewError(chassi.InvalidArgument, "canceled", "Would be a dead letter")
	}).Endpoint("Do")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := startSoon(ctx, s); err != nil {
		t.Fatal(err)
	}
	if err := publisher(t, natsapi.ClientConfig{URL: url}, transport.Queue{Name: "jobs"})("1", &worktest.Job{}); err != nil {
		t.Fatal(err)
	}
	<-began
	proxy.Cut()
	select {
	case err := <-ended:
		if err != context.Canceled {
			t.Errorf("the call ended with %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("the call goes on")
	}
	d := worktest.NewDone()
	other := consume(t, natsapi.Config{URL: url, Logger: quiet}, transport.Queue{Name: "jobs"}, d)
	d.Await(t, 1)
	stop(t, other)
	stop(t, s)
	for name, want := range map[string]uint64{"jobs": 0, "jobs_dead": 0} {
		stream, err := streams(t, url).Stream(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if info := stream.CachedInfo(); info.State.Msgs != want {
			t.Errorf("%d messages in %s, want %d", info.State.Msgs, name, want)
		}
	}
}
