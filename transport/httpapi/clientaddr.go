package httpapi

import (
	"net/http"
	"net/netip"
	"strings"
)

// maxHops bounds how many trusted hops are followed back.
const maxHops = 20

// clientAddr returns who is at the other end: the socket's peer, or, if that is a
// trusted proxy, the rightmost hop of its forwarding header that is none. If all
// of them are trusted it is the leftmost one.
//
// Only the named header is read, "x-forwarded-for" or "forwarded" (RFC 7239):
// a proxy that writes one passes the other on as a stranger sent it, so reading
// both would let the stranger choose. All lines of the header count, in their
// order.
//
// What a trusted proxy says is believed up to the first hop that is no address:
// an empty element, "unknown", a hidden name, a zone. The client is then the last
// hop before it. More than maxHops trusted hops are a loop or a forgery, and the
// peer is the client. IPv4 in IPv6 is IPv4; the port is 0 where the header has
// none.
func clientAddr(peer netip.AddrPort, h http.Header, trusted []netip.Prefix, header string) netip.AddrPort {
	peer = plainAddrPort(peer)
	if len(trusted) == 0 || !isTrusted(peer.Addr(), trusted) {
		return peer
	}
	client, hops := peer, hopsOf(h, header)
	for range maxHops {
		hop, ok := hops.previous()
		if !ok {
			return client
		}
		if client = hop; !isTrusted(hop.Addr(), trusted) {
			return client
		}
	}
	return peer
}

func isTrusted(addr netip.Addr, trusted []netip.Prefix) bool {
	for _, p := range trusted {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

func plainAddrPort(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// hops reads a list header from its end, where the nearest proxy wrote. What it
// wrote is well formed; whatever stands left of it cannot change how it is read.
type hops struct {
	lines     []string // those not begun
	rest      string   // of the line begun
	more      bool     // whether rest has an element, be it empty
	forwarded bool
}

func hopsOf(h http.Header, header string) hops {
	if header == "forwarded" {
		return hops{lines: h["Forwarded"], forwarded: true}
	}
	return hops{lines: h["X-Forwarded-For"]}
}

// previous takes the last element; ok is false at the end and for what is no
// address.
func (s *hops) previous() (hop netip.AddrPort, ok bool) {
	if !s.more {
		if len(s.lines) == 0 {
			return netip.AddrPort{}, false
		}
		s.rest, s.lines = s.lines[len(s.lines)-1], s.lines[:len(s.lines)-1]
	}
	comma := lastSeparator(s.rest, ',', s.forwarded)
	element := s.rest[comma+1:]
	if s.more = comma >= 0; s.more {
		s.rest = s.rest[:comma]
	}
	if !s.forwarded {
		return parseNode(trimSpace(element))
	}
	return parseForwarded(element)
}

// lastSeparator returns the index of the last sep, outside of quoted strings if
// there may be such, and -1 without.
func lastSeparator(s string, sep byte, quotes bool) int {
	if !quotes {
		return strings.LastIndexByte(s, sep)
	}
	quoted := false
	for i := len(s) - 1; i >= 0; i-- {
		switch {
		case s[i] == '"' && !isEscaped(s[:i]):
			quoted = !quoted
		case s[i] == sep && !quoted:
			return i
		}
	}
	return -1
}

// isEscaped tells whether a backslash at the end of before quotes what follows.
func isEscaped(before string) bool {
	n := len(before)
	for n > 0 && before[n-1] == '\\' {
		n--
	}
	return (len(before)-n)%2 == 1
}

// parseForwarded returns the node of for= in one element of a Forwarded header
// (RFC 7239, section 4). Two of them are none.
func parseForwarded(element string) (hop netip.AddrPort, ok bool) {
	for more := true; more; {
		semicolon := lastSeparator(element, ';', true)
		name, value, found := strings.Cut(element[semicolon+1:], "=")
		if found && strings.EqualFold(trimSpace(name), "for") {
			if ok {
				return netip.AddrPort{}, false
			}
			if hop, ok = parseNode(unquote(trimSpace(value))); !ok {
				return netip.AddrPort{}, false
			}
		}
		if more = semicolon >= 0; more {
			element = element[:semicolon]
		}
	}
	return hop, ok
}

// unquote leaves escapes in: no address has any.
func unquote(value string) string {
	if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
		return value[1 : len(value)-1]
	}
	return value
}

// parseNode reads an address with or without port; one of IPv6 needs brackets to
// have a port. Names and zones are none. The form is told first, because netip's
// errors allocate.
func parseNode(node string) (netip.AddrPort, bool) {
	if strings.IndexByte(node, '%') >= 0 {
		return netip.AddrPort{}, false
	}
	bracketed := strings.HasPrefix(node, "[")
	if bracketed && !strings.HasSuffix(node, "]") || !bracketed && strings.Count(node, ":") == 1 {
		hop, err := netip.ParseAddrPort(node)
		return plainAddrPort(hop), err == nil
	}
	if bracketed {
		node = node[1 : len(node)-1]
	}
	addr, err := netip.ParseAddr(node)
	if err != nil || bracketed && !addr.Is6() {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(addr.Unmap(), 0), true
}

// trimSpace drops the optional white space of RFC 9110, section 5.6.3.
func trimSpace(s string) string { return strings.Trim(s, " \t") }
