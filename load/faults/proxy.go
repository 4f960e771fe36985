package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// proxy forwards TCP connections to a server. It can simulate that the server is killed, hung or
// slow.
type proxy struct {
	addr string

	mu       sync.Mutex
	server   string
	listener net.Listener // nil while connections are refused
	conns    map[*net.TCPConn]struct{}
	delay    time.Duration // delay of the data in each direction
	passing  chan struct{} // closed while bytes pass
	ended    chan struct{} // closed by close
	running  sync.WaitGroup
}

// newProxy starts a proxy that forwards connections to server, a host:port, and returns the proxy.
// The caller must close it.
func newProxy(server string) (*proxy, error) {
	p := &proxy{server: server, conns: make(map[*net.TCPConn]struct{}), passing: make(chan struct{}), ended: make(chan struct{})}
	close(p.passing)
	l, err := listen()
	if err != nil {
		return nil, err
	}
	p.addr, p.listener = l.Addr().String(), l
	p.running.Go(func() { p.accept(l) })
	return p, nil
}

// port is the number of ports that listen has tried. firstPort determines the first of them, and is
// random because other processes use these ports too.
var port, firstPort = new(atomic.Int64), rand.Int64N(10_000)

// listen listens on a port of the loopback interface, a different one in each call. The port is below
// the ports that the system uses for outgoing connections, so that it stays free after the listener
// is closed.
func listen() (net.Listener, error) {
	var err error
	for range 100 {
		var l net.Listener
		addr := fmt.Sprintf("127.0.0.1:%d", 20_000+(firstPort+port.Add(1))%10_000)
		if l, err = new(net.ListenConfig).Listen(context.Background(), "tcp", addr); err == nil {
			return l, nil
		}
	}
	return nil, fmt.Errorf("find a free port: %w", err)
}

// freeAddr returns an unused address of the loopback interface as host:port. The next call returns
// another one.
func freeAddr() (string, error) {
	l, err := listen()
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// refuse resets all connections and refuses new ones, as a killed server does.
func (p *proxy) refuse() {
	p.mu.Lock()
	l := p.listener
	p.listener = nil
	p.mu.Unlock()
	if l != nil {
		l.Close()
	}
	p.reset()
}

// reset closes all connections with a TCP reset.
func (p *proxy) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.SetLinger(0) // the end is a reset
		c.Close()
	}
	clear(p.conns)
}

// hang makes the proxy accept connections and forward no data, as if the server were a stopped
// process.
func (p *proxy) hang() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.passing = make(chan struct{})
}

// slow delays the data in each direction by delay.
func (p *proxy) slow(delay time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = delay
}

// lead makes the proxy forward to another server, a host:port, and resets all connections.
func (p *proxy) lead(server string) {
	p.mu.Lock()
	p.server = server
	p.mu.Unlock()
	p.reset()
}

// pass reverts refuse, hang and slow. It returns an error if the proxy cannot listen again.
func (p *proxy) pass() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = 0
	select {
	case <-p.passing:
	default:
		close(p.passing)
	}
	if p.listener != nil {
		return nil
	}
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", p.addr)
	if err != nil {
		return fmt.Errorf("proxy: listen again: %w", err)
	}
	p.listener = l
	p.running.Go(func() { p.accept(l) })
	return nil
}

// close closes the proxy and its connections, and waits until its goroutines have ended.
func (p *proxy) close() {
	close(p.ended)
	p.refuse()
	p.running.Wait()
}

func (p *proxy) accept(l net.Listener) {
	for {
		in, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			p.running.Go(func() { p.connect(in.(*net.TCPConn)) })
		}
	}
}

// connect forwards a connection to the server until either side closes it. If the server is
// unavailable, connect resets the connection.
func (p *proxy) connect(in *net.TCPConn) {
	p.mu.Lock()
	server := p.server
	p.mu.Unlock()
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(context.Background(), "tcp", server)
	if err != nil {
		_ = in.SetLinger(0)
		in.Close()
		return
	}
	out := conn.(*net.TCPConn)
	p.mu.Lock()
	closed := p.listener == nil
	p.conns[in], p.conns[out] = struct{}{}, struct{}{}
	p.mu.Unlock()
	if closed { // accepted in the moment of refuse
		p.reset()
	}
	p.running.Go(func() { p.join(out, in) })
	p.join(in, out)
}

// chunk contains the data of one read and the time from which it may be written.
type chunk struct {
	data []byte
	due  time.Time
}

// join forwards data from one connection to another until either is closed. The delays of
// consecutive chunks overlap, so that they add latency without reducing the throughput.
func (p *proxy) join(to, from *net.TCPConn) {
	chunks := make(chan chunk, 1024)
	p.running.Go(func() {
		defer p.closeBoth(to, from)
		for c := range chunks {
			if !p.await(c.due) {
				return
			}
			if _, err := to.Write(c.data); err != nil {
				return
			}
		}
		p.await(time.Time{}) // the end of a connection passes no earlier than its bytes
	})
	defer close(chunks)
	for {
		data := make([]byte, 16<<10)
		n, err := from.Read(data)
		if n > 0 {
			p.mu.Lock()
			due := time.Now().Add(p.delay)
			p.mu.Unlock()
			select {
			case chunks <- chunk{data[:n], due}:
			case <-p.ended:
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// await waits until data may pass and due has been reached, and returns true. It returns false if
// the proxy is closed before that.
func (p *proxy) await(due time.Time) bool {
	select {
	case <-time.After(time.Until(due)):
	case <-p.ended:
		return false
	}
	p.mu.Lock()
	passing := p.passing
	p.mu.Unlock()
	select {
	case <-passing:
		return true
	case <-p.ended:
		return false
	}
}

// closeBoth closes both sides of a connection and removes them from the connections of the proxy.
func (p *proxy) closeBoth(a, b *net.TCPConn) {
	a.Close()
	b.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, a)
	delete(p.conns, b)
}
