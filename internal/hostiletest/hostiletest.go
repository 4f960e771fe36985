// Package hostiletest provides a TCP proxy for tests that injects invalid data into the responses
// of a correct server.
package hostiletest

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// Peer is a TCP proxy for a correct server. It can inject data into the responses of the server, or
// send a greeting in place of the server.
type Peer struct {
	listener net.Listener
	good     string
	running  sync.WaitGroup
	Greeted  chan struct{} // receives a value for each connection to which a greeting was sent

	mu       sync.Mutex
	greeting *string
	conns    map[net.Conn]bool // true for a connection to a client, false for one to the server
}

// New starts a peer on a free port of 127.0.0.1, for the server at good, a host:port. The peer is
// closed at the end of the test.
func New(t testing.TB, good string) *Peer {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Peer{listener: l, good: good, Greeted: make(chan struct{}, 1000), conns: make(map[net.Conn]bool)}
	p.running.Go(p.accept)
	t.Cleanup(func() { l.Close(); p.cut(); p.running.Wait() })
	return p
}

// Addr returns the host:port on which the peer listens.
func (p *Peer) Addr() string { return p.listener.Addr().String() }

func (p *Peer) accept() {
	for {
		in, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		p.conns[in] = true
		greeting := p.greeting
		p.mu.Unlock()
		p.running.Go(func() {
			defer in.Close()
			if greeting != nil {
				_, _ = io.WriteString(in, *greeting)
				p.Greeted <- struct{}{}
				_, _ = io.Copy(io.Discard, in)
				return
			}
			p.pass(in)
		})
	}
}

func (p *Peer) pass(in net.Conn) {
	out, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", p.good)
	if err != nil {
		return
	}
	p.mu.Lock()
	p.conns[out] = false
	p.mu.Unlock()
	p.running.Go(func() { defer in.Close(); _, _ = io.Copy(in, out) })
	defer out.Close()
	_, _ = io.Copy(out, in)
}

// Say writes text to all clients, with a timeout of 20 s for each, and returns the largest number
// of bytes written to one client.
func (p *Peer) Say(text string) (taken int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn, toClient := range p.conns {
		if toClient {
			_ = conn.SetWriteDeadline(time.Now().Add(20 * time.Second))
			n, _ := io.WriteString(conn, text)
			taken = max(taken, n)
		}
	}
	return taken
}

// Greet closes all connections and sets the greeting for new ones. If greeting is not nil, the peer
// sends it to each new client and does not connect to the server. If greeting is nil, the peer
// forwards new connections to the server again.
func (p *Peer) Greet(greeting *string) {
	p.mu.Lock()
	p.greeting = greeting
	p.mu.Unlock()
	p.cut()
}

func (p *Peer) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		conn.Close()
	}
	clear(p.conns)
}
