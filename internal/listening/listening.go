// Package listening explains errors of listening on an address.
package listening

import (
	"errors"
	"net"
	"syscall"
)

// Advice returns what to do about err, an error of listening on an address.
func Advice(err error) string {
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return "correct the host, or use an IP address of this machine"
	}
	switch {
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "use an address of this machine, or leave the host out to listen on all of them"
	case errors.Is(err, syscall.EACCES):
		return "use a port from 1024, or give the program the capability CAP_NET_BIND_SERVICE"
	case errors.Is(err, syscall.EADDRINUSE):
		return "choose another address, or stop the program that listens there"
	default:
		return "choose another address"
	}
}
