// Package hostiletest provides a server that injects invalid data into the responses of a
// correct server.
package hostiletest

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// Peer is a proxy for a correct server. It injects data into the responses, or replaces the
// greeting.
type Peer struct {
	listener net.Listener
	good     string
	running  sync.WaitGroup
	Greeted  chan struct{} // receives a value for each connection that was greeted

	mu       sync.Mutex
	greeting *string
	conns    map[net.Conn]bool // true if it is to a client, false if it is to the server
}

// New returns a peer for the server at the address good. It is closed at the end of the test.
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

// Addr returns the address of the peer.
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

// Say sends text to all clients. It returns the number of bytes sent to the client that took the
// most.
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

// Greet closes all connections. New connections get only the greeting, without the server; nil
// restores the correct behaviour.
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
