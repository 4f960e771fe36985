package httpapi

import (
	"net/http"
	"strings"
)

// acceptsEvents reports whether the client prefers an event stream to JSON Lines. This is the case
// if its header Accept gives event streams a higher weight, or gives both media types the same
// positive weight and names the media type of event streams. A client that accepts neither media
// type gets JSON Lines, which RFC 9110, section 12.5.1, permits.
func acceptsEvents(h http.Header) bool {
	accept := strings.Join(h["Accept"], ",")
	events, named := weightOf(accept, eventStream)
	lines, _ := weightOf(accept, jsonLines)
	return events > lines || events == lines && events > 0 && named
}

// weightOf returns the weight, in thousandths, of the media type media in accept, the value of an
// Accept header, and whether accept names media itself. The weight is that of the most specific
// range that matches media, or 0 if no range matches. Parameters are ignored, because the media
// types of streams have no parameters.
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

// cutUnquoted slices s around the first sep outside quoted strings (RFC 9110, section 5.6.4), and
// returns the parts before and after sep. If there is no such sep, it returns s, "", false.
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
