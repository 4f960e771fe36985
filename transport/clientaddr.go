package transport

import (
	"net/netip"
	"strings"
)

// maxHops is the maximum number of hops of a forwarding header that are examined, from right to
// left.
const maxHops = 20

// Names of the headers in which proxies record the client's address, as spelled in settings.
const (
	XForwardedFor = "x-forwarded-for"
	Forwarded     = "forwarded" // RFC 7239
)

// ClientAddr returns the address of the client: peer, the remote end of the connection, unless peer
// is in one of the trusted networks. In that case it returns the rightmost untrusted hop of the
// forwarding header, the leftmost hop if all hops are trusted, or peer if there are no hops. The
// argument header is the name of the forwarding header, [XForwardedFor] or [Forwarded], and lines
// contains all of its lines in order.
//
// Only one header may be read: a proxy that writes one of the two headers passes on the other
// header as the client sent it, so reading both would let the client choose its address.
//
// The header is read from right to left. An element that is not an address, such as an empty
// element, "unknown", an obfuscated name or an address with a zone, is not a hop, and neither are
// the elements to its left. If the 20 rightmost hops are all trusted, which suggests a loop or a
// forgery, ClientAddr returns peer. An IPv4-mapped IPv6 address is returned as an IPv4 address. The
// port is 0 if the hop has none.
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

// IsTrusted reports whether peer is in one of the trusted networks.
func IsTrusted(peer netip.AddrPort, trusted []netip.Prefix) bool {
	return len(trusted) > 0 && isTrusted(plainAddrPort(peer).Addr(), trusted)
}

// ForwardedAddr returns the address of the client on whose behalf a trusted peer without a network
// address, such as the client of a broker, forwards a call. This is the rightmost untrusted hop in
// lines, or the leftmost hop if all hops are trusted. ForwardedAddr returns the zero value if the
// rightmost element is missing or is not an address, or if the 20 rightmost hops are all trusted.
// Lines holds all lines of the forwarding header, in order. Header is the name of that header,
// [XForwardedFor] or [Forwarded].
func ForwardedAddr(lines []string, trusted []netip.Prefix, header string) netip.AddrPort {
	client, _ := lastHop(netip.AddrPort{}, lines, trusted, header)
	return client
}

// lastHop reads the hops in lines from right to left and returns the first untrusted hop. If no hop
// is untrusted, lastHop returns the last hop that it has read, or client if there are no hops. If
// the first maxHops hops are all trusted, lastHop returns the zero value, and ok is false.
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

// hops reads the elements of a forwarding header from right to left. The nearest proxy has written
// the rightmost element, which is therefore well formed. Text to the left of an element cannot
// change the meaning of the element.
type hops struct {
	lines     []string // lines of which nothing has been read
	rest      string   // unread part of the current line
	more      bool     // whether rest has a further element, possibly empty
	forwarded bool
}

// previous reads the last unread element and returns its address. ok is false if there is no
// further element, or if the element is not an address.
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

// lastSeparator returns the index of the last sep in s, or -1 if there is none. If quotes is true,
// it ignores separators in quoted strings.
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

// isEscaped reports whether the character that follows before is escaped, that is, whether before
// ends in an odd number of backslashes.
func isEscaped(before string) bool {
	n := len(before)
	for n > 0 && before[n-1] == '\\' {
		n--
	}
	return (len(before)-n)%2 == 1
}

// parseForwarded returns the address in the parameter "for" of one element of a Forwarded header
// (RFC 7239, section 4). ok is false if the element does not have exactly one such parameter, or if
// the value of the parameter is not an address.
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

// unquote returns value without enclosing quotes. It does not resolve escapes, because a valid
// address contains no escapes.
func unquote(value string) string {
	if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
		return value[1 : len(value)-1]
	}
	return value
}

// parseNode returns the address and the port in node, an IP address with an optional port, and
// whether node is valid. The port is 0 if it is missing. An IPv6 address with a port must be in
// brackets. Names, and addresses with a zone, are invalid. The form is checked before parsing,
// because the errors of package netip allocate memory.
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

// trimSpace returns s without leading and trailing spaces and tabs, the optional whitespace of RFC
// 9110, section 5.6.3.
func trimSpace(s string) string { return strings.Trim(s, " \t") }
