package natsapi_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/calltest"
	"github.com/chassi-go/chassi/internal/worktest"
	"github.com/chassi-go/chassi/transport/natsapi"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

// BenchmarkServer holds the server, bare and with all middleware on, against a
// handler of nats.go's own framework that reads and writes the same JSON, with the
// same requests, 32 at once.
func BenchmarkServer(b *testing.B) {
	defer runtime.KeepAlive(make([]byte, 32<<20)) // the heap floor of an App, for all of them
	url := external(b)
	do := func(_ context.Context, j *worktest.Job) (*worktest.Job, error) {
		return &worktest.Job{Number: j.Number + 1}, nil
	}
	conn, err := nats.Connect(url)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	own, err := nats.Connect(url) // as every service has
	if err != nil {
		b.Fatal(err)
	}
	defer own.Close()
	bare, err := micro.AddService(own, micro.Config{Name: "bench_bare", Version: "1.0.0", Endpoint: &micro.EndpointConfig{
		Subject: "bench.bare", Handler: micro.HandlerFunc(func(r micro.Request) {
			var j worktest.Job
			if err := calltest.DecodeJSON(r.Data(), &j); err != nil {
				_ = r.Error("400", err.Error(), nil)
				return
			}
			j.Number++
			_ = r.RespondJSON(&j)
		}),
	}})
	if err != nil {
		b.Fatal(err)
	}
	defer bare.Stop()
	subjects := map[string]string{"micro": "bench.bare"}
	for name, around := range map[string][]chassi.Middleware{"chassi": nil, "everything": calltest.Everything(b)} {
		s := start(b, natsapi.Config{URL: url, Prefix: "bench" + name, Logger: quiet}, around, chassi.NewService("jobs.v1.Jobs", chassi.NewEndpoint("Do", do, chassi.Public)))
		defer stop(b, s)
		subjects[name] = "bench" + name + ".jobs.v1.Jobs.Do"
	}
	for name, subject := range subjects {
		b.Run(name, func(b *testing.B) { drive(b, conn, subject, 32) })
	}
}

func drive(b *testing.B, conn *nats.Conn, subject string, callers int) {
	b.Helper()
	b.ReportAllocs()
	var wg sync.WaitGroup
	for caller := range callers {
		wg.Go(func() {
			for i := caller; i < b.N; i += callers {
				answer, err := conn.RequestWithContext(b.Context(), subject, []byte(`{"number":41,"fail":""}`))
				if err != nil || len(answer.Data) == 0 || answer.Header.Get("Nats-Service-Error") != "" {
					b.Error(fmt.Errorf("%w: %v", err, answer))
					return
				}
			}
		})
	}
	wg.Wait()
}

// BenchmarkEmbedded is a call through the embedded server, from the account of a client into
// that of the service and back, 32 at once.
func BenchmarkEmbedded(b *testing.B) {
	defer runtime.KeepAlive(make([]byte, 32<<20))
	broker := startEmbedded(b, "")
	do := func(_ context.Context, j *worktest.Job) (*worktest.Job, error) {
		return &worktest.Job{Number: j.Number + 1}, nil
	}
	s := start(b, natsapi.Config{Broker: broker, Logger: quiet}, nil, chassi.NewService("jobs.v1.Jobs", chassi.NewEndpoint("Do", do, chassi.Public)))
	defer stop(b, s)
	conn := connect(b, broker.client(b))
	b.ResetTimer()
	drive(b, conn, "jobs.v1.Jobs.Do", 32)
}

// BenchmarkRequest is a request to an answer without a service, by the client library and by
// the inbox of this package.
func BenchmarkRequest(b *testing.B) {
	url := external(b)
	conn, err := nats.Connect(url)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	subject := "bench.request"
	if _, err := conn.Subscribe(subject, func(m *nats.Msg) { _ = m.Respond(m.Data) }); err != nil {
		b.Fatal(err)
	}
	own, err := nats.Connect(url)
	if err != nil {
		b.Fatal(err)
	}
	defer own.Close()
	request, err := natsapi.NewRequester(own)
	if err != nil {
		b.Fatal(err)
	}
	for name, ask := range map[string]func(context.Context, *nats.Msg) (*nats.Msg, error){"library": own.RequestMsgWithContext, "chassi": request} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var wg sync.WaitGroup
			for caller := range 32 {
				wg.Go(func() {
					for i := caller; i < b.N; i += 32 {
						if _, err := ask(b.Context(), &nats.Msg{Subject: subject, Data: []byte("x")}); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
		})
	}
}
