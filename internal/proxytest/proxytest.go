// Package proxytest provides a TCP proxy that tests can close, stall and slow down.
package proxytest

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Proxy forwards TCP connections to a server.
type Proxy struct {
	Addr string // where it listens when it is open

	t        testing.TB
	server   string
	mu       sync.Mutex
	listener net.Listener
	conns    []net.Conn
	stalled  chan struct{} // nil while data passes
	delay    atomic.Int64
	running  sync.WaitGroup
}

// New returns a proxy of the server at host:port. It does not listen until [Proxy.Open] is called, and
// is cut at the end of the test.
func New(t testing.TB, server string) *Proxy {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0") // finds a free port
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{t: t, Addr: l.Addr().String(), server: server}
	l.Close()
	t.Cleanup(func() { p.Resume(); p.Cut() })
	return p
}

// To changes the server to which the proxy forwards. The proxy must not be listening.
func (p *Proxy) To(server string) { p.server = server }

// Open starts to listen at Addr and to forward connections.
func (p *Proxy) Open() {
	p.t.Helper()
	l, err := new(net.ListenConfig).Listen(p.t.Context(), "tcp", p.Addr)
	if err != nil {
		p.t.Fatal(err)
	}
	p.listener = l
	p.running.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := new(net.Dialer).DialContext(p.t.Context(), "tcp", p.server)
			if err != nil {
				in.Close()
				continue
			}
			p.mu.Lock()
			p.conns = append(p.conns, in, out)
			p.mu.Unlock()
			p.running.Go(func() { p.pass(out, in) })
			p.running.Go(func() { p.pass(in, out) })
		}
	})
}

func (p *Proxy) pass(to, from net.Conn) {
	defer to.Close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		p.mu.Lock()
		stalled := p.stalled
		p.mu.Unlock()
		if stalled != nil {
			<-stalled
		}
		if d := time.Duration(p.delay.Load()); d > 0 && n > 0 {
			<-time.After(d)
		}
		if _, writeErr := to.Write(buffer[:n]); err != nil || writeErr != nil {
			return
		}
	}
}

// Cut closes open connections and refuses new ones until the proxy is opened again.
func (p *Proxy) Cut() {
	if p.listener != nil {
		p.listener.Close()
	}
	p.mu.Lock()
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
	p.mu.Unlock()
	p.running.Wait()
}

// Stall stops forwarding, like an unresponsive server, until [Proxy.Resume].
func (p *Proxy) Stall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stalled = make(chan struct{})
}

// Resume starts forwarding again after [Proxy.Stall].
func (p *Proxy) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stalled != nil {
		close(p.stalled)
		p.stalled = nil
	}
}

// Delay delays all data by d in each direction.
func (p *Proxy) Delay(d time.Duration) { p.delay.Store(int64(d)) }
