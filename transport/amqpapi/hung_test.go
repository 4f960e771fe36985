package amqpapi_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

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
