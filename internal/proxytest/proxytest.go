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
	Addr string // host:port on which the open proxy listens

	t        testing.TB
	server   string
	mu       sync.Mutex
	listener net.Listener
	conns    []net.Conn
	stalled  chan struct{} // nil unless the proxy is stalled; closed by Resume
	delay    atomic.Int64
	running  sync.WaitGroup
}

// New returns a proxy for the server at the given host:port. The proxy does not listen until
// [Proxy.Open] is called. At the end of the test, the proxy is resumed and cut automatically.
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

// To sets the host:port of the server to which the proxy forwards. The proxy must not be listening.
func (p *Proxy) To(server string) { p.server = server }

// Open starts listening on Addr and forwarding connections. Open stops the test if the proxy cannot
// listen.
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

// Cut closes the listener and all connections, and waits until their goroutines have returned. A
// stalled proxy must be resumed first. New connections are refused until [Proxy.Open] is called
// again.
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

// Stall stops forwarding data until [Proxy.Resume] is called, and leaves all connections open, as
// an unresponsive server does.
func (p *Proxy) Stall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stalled = make(chan struct{})
}

// Resume continues forwarding after [Proxy.Stall]. It has no effect if the proxy is not stalled.
func (p *Proxy) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stalled != nil {
		close(p.stalled)
		p.stalled = nil
	}
}

// Delay sets the delay of each block of data, in both directions, to d. With 0 there is no delay.
func (p *Proxy) Delay(d time.Duration) { p.delay.Store(int64(d)) }
