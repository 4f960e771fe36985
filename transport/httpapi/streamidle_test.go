package httpapi

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/middleware"
	"github.com/chassi-go/chassi/transport"
)

// pipes is a listener whose connections are in memory.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error { p.once.Do(func() { close(p.closed) }); return nil }

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case p.conns <- there:
		return here, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

type idleRequest struct{}

type idleItem struct{ N int }

// A stream without items for five minutes stays open, with the default settings of server and
// client: over HTTP/2 too, where net/http ends a stream at its write deadline although nothing is
// written.
func TestIdleStreamStaysOpen(t *testing.T) {
	t.Parallel()
	watch := func(ctx context.Context, _ *idleRequest) (iter.Seq2[*idleItem, error], error) {
		return func(yield func(*idleItem, error) bool) {
			if !yield(&idleItem{1}, nil) {
				return
			}
			select {
			case <-time.After(5 * time.Minute):
				yield(&idleItem{2}, nil)
			case <-ctx.Done():
			}
		}, nil
	}
	for _, h2 := range []bool{false, true} {
		for _, events := range []bool{false, true} {
			t.Run(fmt.Sprintf("HTTP2=%v,events=%v", h2, events), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					service := func() *chassi.Service {
						return chassi.NewService("idle.v1.Idle", chassi.NewStream("Watch", watch, chassi.Route("GET /watch"), chassi.Public))
					}
					c, end := overPipes(t, service, h2, events)
					defer end()
					items, err := client.Stream[idleItem](t.Context(), c, "Watch", &idleRequest{})
					if err != nil {
						t.Fatal(err)
					}
					n, began := 0, time.Now()
					for item, err := range items {
						if err != nil {
							t.Errorf("after %v: %v", time.Since(began), err)
							break
						}
						if n++; item.N != n {
							t.Errorf("item %d arrived as %d", n, item.N)
						}
					}
					if took := time.Since(began); n != 2 || took < 5*time.Minute {
						t.Errorf("%d items in %v", n, took)
					}
				})
			})
		}
	}
}

// silent is a connection that carries nothing any more once it is dead, as if the machine at the
// other end had no power.
type silent struct {
	net.Conn

	dead   atomic.Bool
	once   sync.Once
	closed chan struct{}
}

func (s *silent) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b)
	if s.dead.Load() {
		<-s.closed
		return 0, net.ErrClosed
	}
	return n, err
}

func (s *silent) Write(b []byte) (int, error) {
	if s.dead.Load() {
		return len(b), nil
	}
	return s.Conn.Write(b)
}

func (s *silent) Close() error {
	s.once.Do(func() { close(s.closed) })
	return s.Conn.Close()
}

// An HTTP/2 connection whose other end is gone without a word is given up within half a minute: all
// calls share it, and each would fail until the kernel gives up, after a quarter of an hour.
func TestClientLeavesDeadConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server, err := New(Config{H2C: true, Logger: slog.New(slog.DiscardHandler)})
		service := chassi.NewService("t.v1.T", chassi.NewEndpoint("Get", func(context.Context, *struct{}) (*struct{}, error) { return &struct{}{}, nil },
			chassi.Route("GET /x"), chassi.Public))
		if err == nil {
			err = server.Mount(service)
		}
		if err != nil {
			t.Fatal(err)
		}
		l := newPipes()
		h := server.newHTTPServer(t.Context(), nil)
		var serving sync.WaitGroup
		serving.Go(func() { _ = h.Serve(limitListener(l, transport.NewConnections(10, 10, nil), false)) })
		caller, err := NewClient(ClientConfig{URL: "http://test", Timeout: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		var conns []*silent
		tr := caller.http.Transport.(*http.Transport)
		tr.Protocols = new(http.Protocols)
		tr.Protocols.SetUnencryptedHTTP2(true)
		tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := l.dial(ctx, network, addr)
			conns = append(conns, &silent{Conn: conn, closed: make(chan struct{})})
			return conns[len(conns)-1], err
		}
		c, err := client.New(service, caller)
		if err != nil {
			t.Fatal(err)
		}
		get := func() error {
			_, err := client.Invoke[struct{}](t.Context(), c, "Get", &struct{}{})
			return err
		}
		if err := get(); err != nil {
			t.Fatal(err)
		}
		conns[0].dead.Store(true)
		began := time.Now()
		for err = get(); err != nil && time.Since(began) < time.Hour; err = get() {
			if chassi.ErrorOf(err).Code != chassi.DeadlineExceeded && chassi.ErrorOf(err).Code != chassi.Unavailable {
				t.Error(err)
			}
		}
		if took := time.Since(began); err != nil || took > 30*time.Second || len(conns) != 2 {
			t.Errorf("%v after %v and %d connections", err, took, len(conns))
		}
		caller.Close()
		_ = h.Close()
		serving.Wait()
	})
}

// overPipes serves a service in memory, and returns a client of it.
func overPipes(t *testing.T, service func() *chassi.Service, h2, events bool) (c *client.Client, end func()) {
	t.Helper()
	server, err := New(Config{H2C: true, Logger: slog.New(slog.DiscardHandler)}, middleware.Recover(), middleware.Timeout(10*time.Second))
	if err == nil {
		err = server.Mount(service())
	}
	if err != nil {
		t.Fatal(err)
	}
	l := newPipes()
	server.mux.Handle("/", server.unmatched)
	h := server.newHTTPServer(t.Context(), nil)
	var serving sync.WaitGroup
	serving.Go(func() { _ = h.Serve(limitListener(l, transport.NewConnections(10, 10, nil), false)) })
	caller, err := NewClient(ClientConfig{URL: "http://test", EventStreams: events})
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{DialContext: l.dial, Protocols: new(http.Protocols)}
	tr.Protocols.SetHTTP1(!h2)
	tr.Protocols.SetUnencryptedHTTP2(h2)
	caller.http.Transport = tr
	if c, err = client.New(service(), caller); err != nil {
		t.Fatal(err)
	}
	return c, func() {
		tr.CloseIdleConnections()
		_ = h.Close()
		serving.Wait()
	}
}
