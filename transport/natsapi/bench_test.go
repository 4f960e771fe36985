package natsapi_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/internal/calltest"
	"github.com/chassi-go/chassi/internal/worktest"
	"github.com/chassi-go/chassi/transport/natsapi"
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
				response, err := conn.RequestWithContext(b.Context(), subject, []byte(`{"number":41,"fail":""}`))
				if err != nil || len(response.Data) == 0 || response.Header.Get("Nats-Service-Error") != "" {
					b.Error(fmt.Errorf("%w: %v", err, response))
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

// BenchmarkRequest is a request to a response without a service, by the client library and by
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

// BenchmarkStream is an item of a stream, from the server to the client of this package.
func BenchmarkStream(b *testing.B) {
	url, q := external(b), newQuotes()
	s := start(b, natsapi.Config{URL: url, Prefix: "benchstream", Logger: quiet}, nil, q.service())
	defer stop(b, s)
	c, err := client.New(q.service(), dial(b, natsapi.ClientConfig{URL: url, Prefix: "benchstream"}))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	all, err := client.Stream[quote](b.Context(), c, "Watch", &watch{Kind: "ends", Count: b.N})
	if err != nil {
		b.Fatal(err)
	}
	items := 0
	for _, err := range all {
		if err != nil {
			b.Fatal(err)
		}
		items++
	}
	if items != b.N {
		b.Errorf("%d of %d items", items, b.N)
	}
}

// BenchmarkOpenStreams opens streams and reports what one that waits holds at the server.
func BenchmarkOpenStreams(b *testing.B) {
	url, q := external(b), newQuotes()
	q.ended = make(chan error, b.N)
	config := natsapi.Config{URL: url, Prefix: "benchopen", Logger: quiet}
	config.Streams.MaxPeer, config.Streams.Max = 1<<20, 1<<20
	s := start(b, config, nil, q.service())
	defer stop(b, s)
	conn := connect(b, natsapi.ClientConfig{URL: url})
	opened := make(chan *nats.Msg, 4*b.N)
	if _, err := conn.ChanSubscribe("_INBOX.benchopen.*", opened); err != nil {
		b.Fatal(err)
	}
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapInuse + m.StackInuse
	}
	before := heap()
	b.ResetTimer()
	for n := range b.N {
		if err := conn.PublishRequest("benchopen.quotes.v1.Quotes.Watch", fmt.Sprintf("_INBOX.benchopen.%d", n), []byte(`{"kind":"idle"}`)); err != nil {
			b.Fatal(err)
		}
		if m := <-opened; kindOf(m) != "open 0" {
			b.Fatal(m.Header)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(heap()-before)/float64(b.N), "heap-B/stream")
}
