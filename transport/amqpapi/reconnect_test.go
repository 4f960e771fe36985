package amqpapi_test

import (
	"context"
	"errors"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/worktest"
	"github.com/chassi-go/chassi/transport"
	"github.com/chassi-go/chassi/transport/amqpapi"
)

// waiting returns how many messages wait in a queue.
func waiting(t *testing.T, r *raw, queue string) int {
	t.Helper()
	q, err := r.channel.QueueDeclarePassive(queue, true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	return q.Messages
}

// The requests of a new connection come on top of those of the lost one that are under
// way: all are answered and acknowledged, and their client has no place any more.
func TestReconnectWithFullPrefetchesLosesNoRequest(t *testing.T) {
	t.Parallel()
	url := rabbitURL(t)
	p, g := prefix(t, url, "block.v1.Block", "side.v1.Side"), newBlocker()
	s := start(t, amqpapi.Config{URL: url, Prefix: p, MaxConcurrent: 4, MaxConcurrentPerClient: 100}, nil, g.service("block.v1.Block"), g.service("side.v1.Side"))
	r := newRaw(t, url)
	const each = 8 // four are delivered and four wait in the queue
	for range each {
		r.send(t, p+".block.v1.Block", "block.v1.Block.Wait", amqp.Publishing{UserId: "guest"})
	}
	for range 4 {
		<-g.entered // the workers are busy
	}
	for range each {
		r.send(t, p+".side.v1.Side", "side.v1.Side.Wait", amqp.Publishing{UserId: "guest"})
	}
	delivered := func() bool {
		return waiting(t, r, p+".block.v1.Block.requests") == 4 && waiting(t, r, p+".side.v1.Side.requests") == 4
	}
	until(t, "both prefetches are full", delivered)
	connected := amqpapi.CutRequests(s)
	until(t, "connected again", connected)
	until(t, "both prefetches are full again", delivered)
	until(t, "there is no place any more", func() bool { return amqpapi.Held(s, "guest") == 12 })
	close(g.opened)
	for range 2*each + 8 { // those that had been delivered are answered twice
		r.respond(t)
	}
	until(t, "the client has no place", func() bool { return amqpapi.Held(s, "guest") == 0 })
	stop(t, s)
	for _, queue := range []string{".block.v1.Block.requests", ".side.v1.Side.requests"} {
		if n := waiting(t, r, p+queue); n != 0 {
			t.Errorf("%d messages came back to %s", n, queue)
		}
	}
}

// A server that gives up gives the requests back that wait for a place.
func TestStopReturnsWaitingDeliveries(t *testing.T) {
	t.Parallel()
	url := rabbitURL(t)
	p, entered, release := prefix(t, url, "deaf.v1.Deaf"), make(chan struct{}, 100), make(chan struct{})
	deaf := func(context.Context, *worktest.Job) (*worktest.Job, error) {
		entered <- struct{}{}
		<-release
		return &worktest.Job{}, nil
	}
	s := start(t, amqpapi.Config{URL: url, Prefix: p, MaxConcurrent: 1, MaxConcurrentPerClient: 100}, nil,
		chassi.NewService("deaf.v1.Deaf", chassi.NewEndpoint("Do", deaf, chassi.Public)))
	defer close(release)
	r := newRaw(t, url)
	for range 3 {
		request := amqp.Publishing{UserId: "guest", Body: []byte("{}")} // without reply_to: no response is wanted
		if err := r.channel.PublishWithContext(t.Context(), p+".deaf.v1.Deaf", "deaf.v1.Deaf.Do", true, false, request); err != nil {
			t.Fatal(err)
		}
	}
	<-entered
	for range 2 { // one runs, then one of the second connection waits, then one has no place
		connected := amqpapi.CutRequests(s)
		until(t, "connected again", connected)
		until(t, "one is delivered again", func() bool { return waiting(t, r, p+".deaf.v1.Deaf.requests") == 2 })
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := s.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("stopped: %v", err)
	}
	until(t, "all are back", func() bool { return waiting(t, r, p+".deaf.v1.Deaf.requests") == 3 })
	if n := amqpapi.Held(s, "guest"); n != 2 {
		t.Errorf("%d places are held, want those of the calls that do not end", n)
	}
}

// Messages of a work queue that are worked on are no more than configured after a
// reconnect either.
func TestReconnectWorksOnNoMoreThanConfigured(t *testing.T) {
	t.Parallel()
	url := rabbitURL(t)
	p, g := prefix(t, url, "jobs", "jobs.dead"), newBlocker()
	s := amqpapi.New(amqpapi.Config{URL: url, Prefix: p, MaxConcurrent: 2, Logger: quiet})
	q := transport.Queue{Name: "jobs", MaxAttempts: 1}
	if err := s.Consume(q, g.service("block.v1.Block").Endpoint("Wait")); err != nil {
		t.Fatal(err)
	}
	begin(t, s)
	defer stop(t, s)
	publish := publisher(t, amqpapi.ClientConfig{URL: url, Prefix: p}, q)
	for _, id := range []string{"a", "b"} {
		if err := publish(id, &worktest.Job{}); err != nil {
			t.Fatal(err)
		}
		<-g.entered
	}
	r := newRaw(t, url)
	connected := amqpapi.CutRequests(s)
	until(t, "connected again", connected)
	until(t, "both are delivered again", func() bool { return waiting(t, r, p+".jobs") == 0 })
	if n := len(g.entered); n != 0 {
		t.Errorf("%d more have begun", n)
	}
	close(g.opened)
	for range 2 {
		<-g.entered // in their turn
	}
}
