// Package listening suggests how to resolve errors from listening on a network address.
package listening

import (
	"errors"
	"net"
	"syscall"
)

// Advice returns a suggestion for resolving err, an error from [net.Listen] or a similar function.
func Advice(err error) string {
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return "correct the host, or use an IP address of this machine"
	}
	switch {
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "use an address of this machine, or omit the host to listen on all addresses"
	case errors.Is(err, syscall.EACCES):
		return "use a port of at least 1024, or give the program the capability CAP_NET_BIND_SERVICE"
	case errors.Is(err, syscall.EADDRINUSE):
		return "choose another address, or stop the program that listens there"
	default:
		return "choose another address"
	}
}
