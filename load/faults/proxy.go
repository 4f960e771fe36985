package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// proxy forwards TCP connections to a server, and can simulate a killed, hung or slow server.
type proxy struct {
	addr string

	mu       sync.Mutex
	server   string
	listener net.Listener // nil while connections are refused
	conns    map[*net.TCPConn]struct{}
	delay    time.Duration // of each direction
	passing  chan struct{} // closed while bytes pass
	ended    chan struct{} // closed by close
	running  sync.WaitGroup
}

// newProxy returns a proxy that forwards connections to the server at host:port.
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

// listen listens on a port below those that the system uses for outgoing connections, so that
// the port stays free after the listener is closed.
func listen() (net.Listener, error) {
	var err error
	for range 100 {
		var l net.Listener
		addr := fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(10_000))
		if l, err = new(net.ListenConfig).Listen(context.Background(), "tcp", addr); err == nil {
			return l, nil
		}
	}
	return nil, fmt.Errorf("no free port: %w", err)
}

// freeAddr returns an unused address of the loopback interface.
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

// reset resets all connections.
func (p *proxy) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.SetLinger(0) // the end is a reset
		c.Close()
	}
	clear(p.conns)
}

// hang makes the proxy accept connections and forward nothing, like a stopped process.
func (p *proxy) hang() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.passing = make(chan struct{})
}

// slow sets the delay of each direction.
func (p *proxy) slow(delay time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = delay
}

// lead changes the server and resets all connections.
func (p *proxy) lead(server string) {
	p.mu.Lock()
	p.server = server
	p.mu.Unlock()
	p.reset()
}

// pass reverts refuse, hang and slow.
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

// close closes the proxy.
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

// connect forwards a connection to the server, until either side closes.
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

// chunk is the result of one read, and the time at which it may be written.
type chunk struct {
	data []byte
	due  time.Time
}

// join forwards data in one direction until either side closes. Delays of consecutive chunks
// overlap, so that they add latency and do not reduce throughput.
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

// await waits until data may pass and due has been reached. It returns false if the proxy was
// closed.
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

// closeBoth closes both sides of a connection.
func (p *proxy) closeBoth(a, b *net.TCPConn) {
	a.Close()
	b.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, a)
	delete(p.conns, b)
}
