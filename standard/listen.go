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
	Name    string // name in exposure.accepted, such as "http" or "grpc"
	Setting string // name of the setting that contains the address, such as "http.addr"
	Addr    string // host:port; "" if the listener is disabled or its package chooses the address

	// Risk describes the risk if other machines can reach the address, and Fix describes how to
	// prevent it. Both are logged as a warning at the start if other machines can reach the address,
	// Risk is not empty, and exposure.accepted does not contain Name.
	Risk, Fix string
}

// Listens declares a listen address of the program. Before the program listens, it checks all
// declared addresses, and reports each unusable address together with its setting. The setting
// exposure.accepted may contain the names of declared listeners, so a disabled listener should be
// declared with an empty Addr.
func (a *App) Listens(l Listener) { a.listeners = append(a.listeners, l) }

// addHTTPListener declares the public HTTP listener. If there are trusted proxies, they are assumed
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

// advice returns a remedy for err, which is the error of listening on l. The argument others
// contains the listeners that were tried before l.
func advice(err error, l Listener, others []Listener) string {
	for _, other := range others {
		if errors.Is(err, syscall.EADDRINUSE) && samePort(other.Addr, l.Addr) {
			return "choose another address, or change " + other.Setting + ", which has the same port"
		}
	}
	return listening.Advice(err)
}

// reason returns the cause of err without the address, because the message of [tryAll] already
// contains the address.
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
