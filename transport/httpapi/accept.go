package httpapi

import (
	"net/http"
	"strings"
)

// acceptsEvents reports whether the client prefers an event stream to JSON Lines: its header Accept
// gives the event stream a higher weight, or names the event stream and gives both the same weight.
// A client that accepts neither gets JSON Lines, which RFC 9110, section 12.5.1, permits.
func acceptsEvents(h http.Header) bool {
	accept := strings.Join(h["Accept"], ",")
	events, named := weightOf(accept, eventStream)
	lines, _ := weightOf(accept, jsonLines)
	return events > lines || events == lines && events > 0 && named
}

// weightOf returns the weight in thousandths that accept gives a media type, which is the weight of
// the most specific range that matches, and reports whether this range names the type. Parameters
// are ignored: the media types of streams have none.
func weightOf(accept, media string) (weight int, named bool) {
	kind, _, _ := strings.Cut(media, "/")
	weights := map[string]int{}
	for more := true; more; {
		var part string
		part, accept, more = cutUnquoted(accept, ',')
		name, q := qualityOf(part)
		name = strings.ToLower(name)
		weights[name] = max(weights[name], q)
	}
	for _, name := range []string{media, kind + "/*", "*/*"} {
		if q, ok := weights[name]; ok {
			return q, name == media
		}
	}
	return 0, false
}

// cutUnquoted is [strings.Cut] at the first sep outside of quoted strings (RFC 9110, section 5.6.4).
func cutUnquoted(s string, sep byte) (before, after string, found bool) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			quoted = !quoted
		case c == '\\' && quoted:
			i++
		case c == sep && !quoted:
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}
