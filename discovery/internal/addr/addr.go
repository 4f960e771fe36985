// Package addr validates addresses from registries and settings.
package addr

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Canonical returns the canonical form of an address: an IPv4-mapped IPv6 address as IPv4, other
// IPv6 addresses as in RFC 5952, names in lower case and without the final dot, ports without
// leading zeros. It returns an error if addr is not host:port, if the port is not from 1 to 65535,
// or if the host, such as 0.0.0.0, cannot be the name or the address of a single host.
func Canonical(addr string) (string, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", fmt.Errorf("address %s: want host:port", Quote(addr))
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", fmt.Errorf("address %s: want host:port with a port from 1 to 65535", Quote(addr))
	}
	port = strings.TrimLeft(port, "0")
	if ip, err := netip.ParseAddr(host); err == nil {
		ip = ip.Unmap()
		if strings.Trim(ip.Zone(), zoneChars) != "" {
			return "", fmt.Errorf("address %s: want a zone of letters, digits, '.', '_' and '-'", Quote(addr))
		}
		if ip.IsUnspecified() || ip.IsMulticast() || ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
			return "", fmt.Errorf("address %s: want the address of one host", Quote(addr))
		}
		return net.JoinHostPort(ip.String(), port), nil
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if !isHostName(host) {
		return "", fmt.Errorf("address %s: want the name or the IP address of a host, and a port", Quote(addr))
	}
	return net.JoinHostPort(host, port), nil
}

const zoneChars = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"

// isHostName reports whether host is a valid host name (RFC 1123, plus the underscore) in lower case
// and without a final dot. A name that consists of digits and dots is invalid, because it is a
// malformed IPv4 address.
func isHostName(host string) bool {
	if host == "" || len(host) > 253 || strings.Trim(host, "0123456789.") == "" {
		return false
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 ||
			strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
	}
	return true
}

// maxQuoted is the maximum number of bytes of a string that Quote includes in its result.
const maxQuoted = 200

// Quote returns an untrusted string in quotes, truncated to 200 bytes, for a log line or an error.
func Quote(text string) string {
	if len(text) > maxQuoted {
		text = text[:maxQuoted] + "..."
	}
	return strconv.Quote(text)
}
