package transport

import (
	"net/netip"
	"strings"
)

// maxHops is the maximum number of hops that are followed back.
const maxHops = 20

// Headers in which proxies record the client's address, as spelled in settings.
const (
	XForwardedFor = "x-forwarded-for"
	Forwarded     = "forwarded" // RFC 7239
)

// ClientAddr returns the address of the client: peer, the remote end of the connection, or, if
// peer is a trusted proxy, the rightmost untrusted hop of its forwarding header. If all hops
// are trusted, ClientAddr returns the leftmost hop. Lines are all lines, in order, of the header
// named by header, which is [XForwardedFor] or [Forwarded].
//
// Only one header may be read: a proxy that writes one of the two headers passes on the other as
// the client sent it, so reading both would let the client choose its address.
//
// The header of a trusted proxy is read from right to left, up to the first element that is not an
// address, such as an empty element, "unknown", an obfuscated name or an address with a zone. The
// client is then the hop to the right of this element, or peer if there is none. If the header
// ends in 20 or more trusted hops, which suggests a loop or a forgery, ClientAddr returns peer. An
// IPv4-mapped IPv6 address is returned as IPv4; the port is 0 if the header has none.
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

// ForwardedAddr returns the address of the client for which a trusted peer without an address of
// its own, such as the client of a broker, forwards a call. This is the rightmost untrusted hop of
// lines, or the leftmost hop if all are trusted. It is the zero value if the rightmost element is
// not an address, or if there are too many trusted hops. Lines and header are those of [ClientAddr].
func ForwardedAddr(lines []string, trusted []netip.Prefix, header string) netip.AddrPort {
	client, _ := lastHop(netip.AddrPort{}, lines, trusted, header)
	return client
}

// lastHop returns the address of the client, for which it follows the hops back from client. The
// result is client itself if there are no hops. ok is false if there are too many trusted hops.
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

// hops reads the elements of a list header from right to left. The nearest proxy has written the
// rightmost part, which is therefore well formed, and text to the left cannot change its meaning.
type hops struct {
	lines     []string // lines not yet begun
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

// isEscaped reports whether a backslash at the end of before escapes the next character.
func isEscaped(before string) bool {
	n := len(before)
	for n > 0 && before[n-1] == '\\' {
		n--
	}
	return (len(before)-n)%2 == 1
}

// parseForwarded returns the address in the parameter "for" of one element of a Forwarded header
// (RFC 7239, section 4). ok is false if the element does not have exactly one such parameter, or
// if its value is not an address.
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

// unquote returns value without enclosing quotes. It does not remove escapes: a valid address has
// none.
func unquote(value string) string {
	if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
		return value[1 : len(value)-1]
	}
	return value
}

// parseNode parses an address with or without port; an IPv6 address with a port needs brackets.
// Names and zones are invalid. The form is checked first, because netip's errors allocate.
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

// trimSpace returns s without leading and trailing white space (RFC 9110, section 5.6.3).
func trimSpace(s string) string { return strings.Trim(s, " \t") }
