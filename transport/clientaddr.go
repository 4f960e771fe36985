package transport

import (
	"net/netip"
	"strings"
)

// maxHops bounds how many trusted hops are followed back.
const maxHops = 20

// The headers in which proxies record whom they forward for, as settings spell them.
const (
	XForwardedFor = "x-forwarded-for"
	Forwarded     = "forwarded" // RFC 7239
)

// ClientAddr returns the address of the client: peer, the other end of the connection,
// or, if that is one of the trusted proxies, the rightmost hop of its forwarding header
// that is not. If all of them are trusted it is the leftmost one. Lines are all lines of
// the header named by header, [XForwardedFor] or [Forwarded], in their order.
//
// Only one header may be read: a proxy that writes one passes the other on as a client
// sent it, so reading both would let the client choose.
//
// What a trusted proxy says is believed up to the first hop that is not an address: an
// empty element, "unknown", an obfuscated name, a zone. The client is then the last hop
// before it. More than 20 trusted hops are a loop or a forgery, and peer is the client.
// IPv4 in IPv6 is IPv4; the port is 0 where the header has none.
func ClientAddr(peer netip.AddrPort, lines []string, trusted []netip.Prefix, header string) netip.AddrPort {
	peer = plainAddrPort(peer)
	if len(trusted) == 0 || !isTrusted(peer.Addr(), trusted) {
		return peer
	}
	client, ok := lastHop(peer, lines, trusted, header)
	if !ok {
		return peer
	}
	return client
}

// ForwardedAddr returns the address that a trusted client which has no address of its own,
// the client of a broker, forwards for: the rightmost hop of lines that is not a trusted
// proxy, the zero value if there is none. Lines and header are those of [ClientAddr].
func ForwardedAddr(lines []string, trusted []netip.Prefix, header string) netip.AddrPort {
	client, _ := lastHop(netip.AddrPort{}, lines, trusted, header)
	return client
}

// lastHop follows the hops back from client. ok is false if there are too many.
func lastHop(client netip.AddrPort, lines []string, trusted []netip.Prefix, header string) (_ netip.AddrPort, ok bool) {
	hops := hops{lines: lines, forwarded: header == Forwarded}
	for range maxHops {
		hop, ok := hops.previous()
		if !ok {
			return client, true
		}
		if client = hop; !isTrusted(hop.Addr(), trusted) {
			return client, true
		}
	}
	return netip.AddrPort{}, false
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
