package httpapi

import (
	"net/http"
	"strings"
)

// secureHeaders holds the security headers that are set on every response. A mounted handler that
// serves pages may replace them with Set or remove them with Del. The slices are shared between
// responses and have no spare capacity, so that an append copies them.
type secureHeaders struct {
	pairs []headerPair
}

type headerPair struct {
	key   string // in canonical form
	value []string
}

// newSecureHeaders returns the security headers of an API response, which is not a page, and must
// not be framed, sniffed or scripted. If overTLS is true, the headers instruct browsers to use only
// TLS for a year.
//
// X-Frame-Options is left out because frame-ancestors obsoletes it (Content Security Policy Level
// 2, section 7.7.1), Cross-Origin-Resource-Policy because browsers already keep JSON marked nosniff
// from other origins, and Referrer-Policy because JSON has no links. Each additional header costs
// net/http as much as the router does, and a ninth header would make the map of most responses
// grow. A handler of a page that sets its own Content-Security-Policy must include frame-ancestors
// in it.
func newSecureHeaders(overTLS bool) *secureHeaders {
	s := &secureHeaders{pairs: []headerPair{
		{"X-Content-Type-Options", []string{"nosniff"}},
		{"Content-Security-Policy", []string{"default-src 'none'; frame-ancestors 'none'"}},
	}}
	if overTLS {
		s.pairs = append(s.pairs, headerPair{"Strict-Transport-Security", []string{"max-age=31536000"}})
	}
	return s
}

func (s *secureHeaders) set(h http.Header) {
	for i := range s.pairs {
		h[s.pairs[i].key] = s.pairs[i].value
	}
}

// pathKind classifies how ambiguous an escaped path is, that is, in how many ways it can be read.
// The kinds are in ascending order of ambiguity.
type pathKind uint8

const (
	cleanPath     pathKind = iota // can be read in one way
	escapedPath                   // has an escaped \ or ;: ambiguous only after unescaping
	slashedPath                   // has an escaped slash: readers differ in the number of segments
	ambiguousPath                 // can be read in several ways
)

// kindOf returns the kind of an escaped path ([net/url.URL.EscapedPath]). A path is ambiguous if a
// proxy and the mux might read it in different ways: if it does not begin with a slash, or has an
// empty or dot segment, a parameter (;), a backslash, a NUL, or an escaped dot or NUL. A slash at
// the end is left to the mux. "*" is not a path: net/http itself responds to OPTIONS *.
func kindOf(path string) (kind pathKind) {
	if path == "" || path[0] != '/' {
		return ambiguousPath
	}
	for i := range len(path) {
		switch path[i] {
		case '/':
			if !cleanSegment(path[i+1:]) {
				return ambiguousPath
			}
		case '%':
			if kind = max(kind, kindOfEscape(path[i+1:])); kind == ambiguousPath {
				return ambiguousPath
			}
		case ';', '\\', 0:
			return ambiguousPath
		}
	}
	return kind
}

// cleanSegment reports whether the first segment of rest is neither a dot segment nor an empty
// segment that a slash follows.
func cleanSegment(rest string) bool {
	end := strings.IndexByte(rest, '/')
	if end >= 0 {
		rest = rest[:end]
	}
	return end != 0 && rest != "." && rest != ".."
}

func kindOfEscape(rest string) pathKind {
	if len(rest) < 2 {
		return ambiguousPath
	}
	switch rest[:2] {
	case "2f", "2F":
		return slashedPath
	case "5c", "5C", "3b", "3B":
		return escapedPath
	case "2e", "2E", "00":
		return ambiguousPath
	default:
		return cleanPath
	}
}
