package amqpapi_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/proxytest"
	"github.com/chassi-go/chassi/internal/worktest"
	"github.com/chassi-go/chassi/transport"
	"github.com/chassi-go/chassi/transport/amqpapi"
)

// A stop keeps to its time although the broker answers nothing any more.
func TestStopWithHungBroker(t *testing.T) {
	t.Parallel()
	url := rabbitURL(t)
	credentials, rest, _ := strings.Cut(strings.TrimPrefix(url, "amqp://"), "@")
	addr, vhost, _ := strings.Cut(rest, "/")
	proxy := proxytest.New(t, addr)
	proxy.Open()
	p := prefix(t, url, "hung")
	s := amqpapi.New(amqpapi.Config{URL: "amqp://" + credentials + "@" + proxy.Addr + "/" + vhost, Prefix: p, Logger: quiet})
	service := worktest.Service(worktest.Succeed)
	if err := errors.Join(s.Mount(service), s.Consume(transport.Queue{Name: "hung", MaxAttempts: 1}, service.Endpoint("Do"))); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	proxy.Stall()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	began := time.Now()
	err := s.Stop(ctx)
	if took := time.Since(began); took > 5*time.Second || err == nil || !strings.Contains(err.Error(), "the broker did not respond") {
		t.Errorf("the stop took %v, %v", took, err)
	}
	proxy.Resume()
}

// A message that is worked on while a start fails, and still during the next one, shares nothing
// with it that changes. (The race detector tells.)
func TestWorkOutlivesFailedStart(t *testing.T) {
	t.Parallel()
	url := rabbitURL(t)
	p := prefix(t, url, "first", "first.dead", "second")
	conn, err := amqp.Dial(url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := open(t, conn).QueueDeclare(p+".second", true, false, false, false, amqp.Table{"x-max-length": 7}); err != nil {
		t.Fatal(err)
	}
	entered, leave, left := make(chan struct{}, 100), make(chan struct{}), make(chan struct{}, 100)
	service := worktest.Service(func(context.Context, *worktest.Job) (*worktest.Nothing, error) {
		entered <- struct{}{}
		<-leave
		left <- struct{}{}
		return nil, chassi.NewError(chassi.NotFound, "gone", "It is gone")
	})
	first := transport.Queue{Name: "first", MaxAttempts: 1}
	s := amqpapi.New(amqpapi.Config{URL: url, Prefix: p, Logger: quiet})
	if err := errors.Join(s.Consume(first, service.Endpoint("Do")), s.Consume(transport.Queue{Name: "second", MaxAttempts: 1}, service.Endpoint("Do"))); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := s.Start(ctx); err == nil { // declares the first queue
		t.Fatal("started")
	}
	if err := publisher(t, amqpapi.ClientConfig{URL: url, Prefix: p}, first)("1", &worktest.Job{}); err != nil {
		t.Fatal(err)
	}
	for len(entered) == 0 {
		if err := s.Start(ctx); err == nil || ctx.Err() != nil {
			t.Fatal(err)
		}
	}
	close(leave)
	if err := s.Start(ctx); err == nil {
		t.Fatal("started")
	}
	<-left
}
