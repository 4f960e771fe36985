package httpapi

import (
	"net/http"
	"strings"
)

// secureHeaders are set on every answer; a mounted handler that serves pages may
// replace them with Set or take them away with Del. The slices are shared between
// answers and full to their capacity, so that an append copies them.
type secureHeaders struct {
	pairs []headerPair
}

type headerPair struct {
	key   string // in canonical form
	value []string
}

// newSecureHeaders returns what an API answer needs: it is no page, may not be
// framed, guessed at or scripted. Over TLS browsers are told to stay there for a
// year. Cross-Origin-Resource-Policy is left out because browsers already keep
// JSON marked nosniff from other origins, and Referrer-Policy because JSON has no
// links; a ninth header would make the map of most answers grow.
func newSecureHeaders(overTLS bool) *secureHeaders {
	s := &secureHeaders{pairs: []headerPair{
		{"X-Content-Type-Options", []string{"nosniff"}},
		{"X-Frame-Options", []string{"DENY"}},
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

// cleanPath reports whether an escaped path ([net/url.URL.EscapedPath]) has no
// second spelling that a proxy or the mux might read otherwise: no empty or dot
// segment, no parameter (;), no backslash, and none of these nor slash or NUL
// behind an escape. A slash at the end is the mux's matter. "*" is no path: net/http
// answers OPTIONS for it.
func cleanPath(path string) bool {
	if path == "" || path[0] != '/' {
		return false
	}
	for i := range len(path) {
		switch path[i] {
		case '/':
			if !cleanSegment(path[i+1:]) {
				return false
			}
		case '%':
			if ambiguousEscape(path[i+1:]) {
				return false
			}
		case ';', '\\', 0:
			return false
		}
	}
	return true
}

// cleanSegment looks at the segment that follows a slash.
func cleanSegment(rest string) bool {
	end := strings.IndexByte(rest, '/')
	if end >= 0 {
		rest = rest[:end]
	}
	return end != 0 && rest != "." && rest != ".."
}

// ambiguousEscape tells the escapes of / \ . ; and NUL, and broken ones.
func ambiguousEscape(rest string) bool {
	if len(rest) < 2 {
		return true
	}
	switch rest[:2] {
	case "2f", "2F", "5c", "5C", "2e", "2E", "3b", "3B", "00":
		return true
	default:
		return false
	}
}
