package httpapi

import (
	"bufio"
	"context"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/chassi-go/chassi"
)

// NewEndpoint returns an endpoint that is served by handler, for functions that depend on HTTP,
// such as a WebSocket, a proxy or an upload in a special format. Route is "METHOD /path", as for
// [chassi.Route]. The endpoint is a part of its service: like any other endpoint, it is documented,
// and has a policy, a timeout, limits and middleware. Other transports refuse to mount the
// endpoint, unless [chassi.Transports] limits it to "http".
//
// The handler is called with the same limits as a handler given to [Server.Handle], and responds
// with an error by calling [WriteError]. Middleware of net/http may wrap it. A connection that the
// handler takes over ([http.ResponseController].Hijack) counts as a call until it is closed. When
// the server drains or stops, reads of such a connection fail with [os.ErrDeadlineExceeded], so
// that the handler can send a last message and close the connection. The handler must always close
// the connection, even after the client has disconnected: [Server.Stop] waits for open connections
// until the context of Stop is done; then it closes them and returns an error.
func NewEndpoint(name, route string, handler http.Handler, options ...chassi.EndpointOption) *chassi.Endpoint {
	var serve chassi.Handler // nil is refused by RawEndpoint
	if handler != nil {
		serve = serveRaw(handler)
	}
	return chassi.RawEndpoint(name, serve, append([]chassi.EndpointOption{chassi.Route(route)}, options...)...)
}

// Hijack implements [http.Hijacker], for [http.ResponseController].
func (x *exchange) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := http.NewResponseController(x.w).Hijack()
	if err != nil {
		return nil, nil, err //nolint:wrapcheck // net/http's own, which handlers compare
	}
	x.status = http.StatusSwitchingProtocols
	x.hijacked = &hijackedConn{Conn: conn, of: &x.server.hijacked, route: x.route}
	x.hijacked.of.add(x.hijacked)
	return x.hijacked, buffered, nil
}

// hijacked is the set of open connections that handlers have taken over. The zero value is empty.
type hijacked struct {
	mu    sync.Mutex
	conns map[*hijackedConn]struct{}
	empty chan struct{} // closed when no connection is left; nil before stop
}

// hijackedConn is a connection that a handler has taken over. Until the connection is closed, it
// counts as a call of the handler's route.
type hijackedConn struct {
	net.Conn

	of    *hijacked
	route *route
	once  sync.Once

	mu    sync.Mutex
	ended bool // whether reads fail
}

func (h *hijacked) add(c *hijackedConn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.conns == nil {
		h.conns = make(map[*hijackedConn]struct{})
	}
	h.conns[c] = struct{}{}
	if h.empty != nil { // the server stops
		c.end()
	}
}

func (h *hijacked) remove(c *hijackedConn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.conns, c)
	if h.empty != nil && len(h.conns) == 0 {
		close(h.empty)
		h.empty = make(chan struct{})
	}
	c.route.calls.Release()
}

// end makes the reads of all connections fail.
func (h *hijacked) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.conns {
		c.end()
	}
}

// stop makes the reads of all open connections fail, and the reads of every connection that a
// handler takes over later.
func (h *hijacked) stop() {
	h.mu.Lock()
	h.empty = make(chan struct{})
	h.mu.Unlock()
	h.end()
}

// wait waits until the handlers have closed all connections. It must be called after stop. It
// returns ctx.Err() if ctx is done first.
func (h *hijacked) wait(ctx context.Context) error {
	h.mu.Lock()
	left, empty := len(h.conns), h.empty
	h.mu.Unlock()
	if left == 0 {
		return nil
	}
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		return ctx.Err() //nolint:wrapcheck // the caller says of what
	}
}

// close closes the connections that handlers have left open.
func (h *hijacked) close() {
	h.mu.Lock()
	conns := slices.Collect(maps.Keys(h.conns))
	h.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
	}
}

func (c *hijackedConn) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	_ = c.Conn.SetReadDeadline(time.Unix(1, 0)) // fails only on a closed connection
}

// Close implements [net.Conn].
func (c *hijackedConn) Close() error {
	c.once.Do(func() { c.of.remove(c) })
	return c.Conn.Close()
}

// SetDeadline implements [net.Conn].
func (c *hijackedConn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline implements [net.Conn]. It has no effect once the server has ended the reads of c.
func (c *hijackedConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return nil
	}
	return c.Conn.SetReadDeadline(t)
}
