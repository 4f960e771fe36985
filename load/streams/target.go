package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/transport/grpcapi"
	"github.com/chassi-go/chassi/transport/httpapi"
	"github.com/chassi-go/chassi/transport/natsapi"
)

// connections is the number of connections over which overGRPC spreads the streams. overNATS uses a
// tenth of this number.
const connections = 100

// kind is a transport with one form of stream, such as Server-Sent Events over HTTP/1.1.
type kind struct {
	name, text string
	connect    func(ctx context.Context, t *target, s *server) (client.Caller, error)
}

var kinds = []kind{
	{"sse", "Server-Sent Events, HTTP/1.1", overHTTP("text/event-stream", false)},
	{"jsonl", "JSON Lines, HTTP/1.1", overHTTP("application/jsonl", false)},
	{"http2", "Server-Sent Events, HTTP/2, 250 on a connection", overHTTP("text/event-stream", true)},
	{"grpc", "gRPC, 100 on a connection", overGRPC},
	{"nats", "NATS, with the broker in the process", overNATS},
}

func names() (all []string) {
	for _, k := range kinds {
		all = append(all, k.name)
	}
	return all
}

func find(name string) (found kind) {
	for _, k := range kinds {
		if k.name == name {
			return k
		}
	}
	return found
}

func describe(name string) string { return find(name).text }

// target contains the clients of the server over one transport.
type target struct {
	client *client.Client // for unary calls, with separate connections
	// open opens stream n and returns a function that waits for its end.
	open    func(ctx context.Context, n int) (wait func() error, err error)
	closers []func()
}

func connect(ctx context.Context, name string, s *server) (*target, error) {
	t := &target{}
	caller, err := find(name).connect(ctx, t, s)
	if err == nil {
		t.client, err = client.New(endpoints(), caller)
	}
	if err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

func (t *target) close() {
	for _, c := range t.closers {
		c()
	}
}

func (t *target) memory(ctx context.Context) (*memory, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return client.Invoke[memory](ctx, t.client, "Memory", &memoryRequest{})
}

// openAll opens n streams. The returned function shut ends them and returns the number of streams
// that were still open when it was called.
func (t *target) openAll(ctx context.Context, n int) (shut func() (open int), err error) {
	ctx, cancel := context.WithCancel(ctx)
	var broken atomic.Int64
	var streams, openers sync.WaitGroup
	var once sync.Once
	for o := range 16 {
		openers.Go(func() {
			for i := o; i < n && ctx.Err() == nil; i += 16 {
				wait, failed := t.open(ctx, i)
				if failed != nil {
					once.Do(func() { err = fmt.Errorf("stream %d: %w", i, failed); cancel() })
					return
				}
				streams.Go(func() {
					_ = wait()
					if ctx.Err() == nil {
						broken.Add(1)
					}
				})
			}
		})
	}
	openers.Wait()
	shut = func() int {
		cancel()
		streams.Wait()
		return n - int(broken.Load())
	}
	if err != nil {
		shut()
		return nil, err
	}
	return shut, nil
}

// overHTTP returns a function that connects a target over HTTP. Each stream is opened by a plain
// HTTP request for the media type accept, over HTTP/2 if h2 is true.
func overHTTP(accept string, h2 bool) func(context.Context, *target, *server) (client.Caller, error) {
	return func(_ context.Context, t *target, s *server) (client.Caller, error) {
		tr := &http.Transport{Protocols: new(http.Protocols), ReadBufferSize: 512, WriteBufferSize: 512}
		tr.Protocols.SetHTTP1(!h2)
		tr.Protocols.SetUnencryptedHTTP2(h2)
		t.closers = append(t.closers, tr.CloseIdleConnections)
		t.open = func(ctx context.Context, _ int) (func() error, error) {
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.http+"/watch", nil)
			if err != nil {
				return nil, err
			}
			r.Header.Set("Accept", accept)
			response, err := tr.RoundTrip(r) //nolint:bodyclose // by the function that is returned
			if err != nil {
				return nil, err
			}
			if response.StatusCode != http.StatusOK {
				return nil, errors.Join(fmt.Errorf("GET /watch: got status %s, want 200", response.Status), response.Body.Close())
			}
			return func() error {
				_, err := io.Copy(io.Discard, response.Body)
				return errors.Join(err, response.Body.Close())
			}, nil
		}
		c, err := httpapi.NewClient(httpapi.ClientConfig{URL: "http://" + s.http})
		if err == nil {
			t.closers = append(t.closers, c.Close)
		}
		return c, err
	}
}

// overGRPC connects t over gRPC, spreads its streams over several connections, and returns the
// caller for unary calls.
func overGRPC(_ context.Context, t *target, s *server) (client.Caller, error) {
	dial := func() (client.Caller, error) {
		c, err := grpcapi.Dial(grpcapi.ClientConfig{Target: s.grpc})
		if err == nil {
			t.closers = append(t.closers, func() { _ = c.Close() })
		}
		return c, err
	}
	return spread(t, connections, dial)
}

// overNATS connects t over NATS with the credentials of one client, spreads its streams over fewer
// connections than overGRPC, and returns the caller for unary calls.
func overNATS(ctx context.Context, t *target, s *server) (client.Caller, error) {
	dial := func() (client.Caller, error) {
		c, err := natsapi.Dial(ctx, natsapi.ClientConfig{
			URL: "nats://" + s.nats, Login: natsapi.Login{NkeyFile: s.key()}, Logger: slog.New(slog.DiscardHandler),
		})
		if err == nil {
			t.closers = append(t.closers, c.Close)
		}
		return c, err
	}
	return spread(t, connections/10, dial)
}

// spread creates n clients with dial, sets t.open to open the streams with these clients in turn,
// and returns another caller from dial for unary calls.
func spread(t *target, n int, dial func() (client.Caller, error)) (client.Caller, error) {
	clients := make([]*client.Client, n)
	for i := range clients {
		caller, err := dial()
		if err == nil {
			clients[i], err = client.New(endpoints(), caller)
		}
		if err != nil {
			return nil, err
		}
	}
	t.open = func(ctx context.Context, i int) (func() error, error) {
		items, err := client.Stream[tick](ctx, clients[i%n], "Watch", &watchRequest{})
		if err != nil {
			return nil, err
		}
		return func() error {
			for _, err := range items {
				return err
			}
			return nil
		}, nil
	}
	return dial()
}
