package standard

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"

	"github.com/chassi-go/chassi/internal/listening"
)

// Listener is a listen address of the program.
type Listener struct {
	Name    string // in exposure.accepted: "http", "grpc", or one of the program's own
	Setting string // setting of the address: "http.addr"
	Addr    string // host:port; "" for the default of its package, or if it is disabled

	// Risk and Fix are logged as a warning at the start if other machines can reach the
	// address: the risk, and how to prevent it. No warning is logged if Risk is empty.
	Risk, Fix string
}

// Listens declares a listen address of the program, so that all addresses in use are reported
// together, each with its setting, before the program listens. The setting exposure.accepted
// permits the names of declared listeners: declare a disabled one with an empty Addr.
func (a *App) Listens(l Listener) { a.listeners = append(a.listeners, l) }

// addHTTPListener declares the public listener. If there are trusted proxies, they are assumed
// to terminate TLS.
func (a *App) addHTTPListener() {
	c := a.config.HTTP
	l := Listener{Name: "http", Setting: "http.addr", Addr: c.Addr}
	if !c.TLS.Enabled() && len(c.TrustedProxies) == 0 {
		l.Risk = "passwords and tokens cross the network in clear: HTTP without TLS can be reached from other machines"
		l.Fix = "set http.tls.cert_file and http.tls.key_file, or http.trusted_proxies if TLS ends at a proxy, or accept it: exposure.accepted=http"
	}
	a.Listens(l)
	a.Descriptors("http.max_connections", c.MaxConnections, c.MaxConnections)
	a.PrivateTLS("http.tls", c.TLS)
}

func (a *App) tryListeners(ctx context.Context) error { return tryAll(ctx, a.listeners) }

// tryAll returns an error for each address on which it cannot listen. It listens on all addresses
// simultaneously, so that it also detects two settings with the same port, and then closes the
// listeners.
func tryAll(ctx context.Context, list []Listener) error {
	var problems []error
	var lc net.ListenConfig
	for i, l := range list {
		if l.Addr == "" {
			continue // the default of its package
		}
		open, err := lc.Listen(ctx, "tcp", l.Addr)
		if err == nil {
			defer open.Close()
			continue
		}
		problems = append(problems, fmt.Errorf("%s (%q): %w; %s", l.Setting, l.Addr, reason(err), advice(err, l, list[:i])))
	}
	return errors.Join(problems...)
}

// advice returns what to do about the error err of listening on l. others are the listeners that
// were opened before l.
func advice(err error, l Listener, others []Listener) string {
	for _, other := range others {
		if errors.Is(err, syscall.EADDRINUSE) && samePort(other.Addr, l.Addr) {
			return "choose another address, or change " + other.Setting + ", which has the same port"
		}
	}
	return listening.Advice(err)
}

// reason returns the cause of err without the address, because the message contains the address
// already.
func reason(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return err
}

func samePort(a, b string) bool {
	_, portA, _ := net.SplitHostPort(a)
	_, portB, _ := net.SplitHostPort(b)
	return portA == portB && portA != "0"
}
