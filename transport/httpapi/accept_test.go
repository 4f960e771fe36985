package httpapi

import (
	"mime"
	"net/http"
	"strings"
	"testing"
)

func TestAcceptsEvents(t *testing.T) {
	t.Parallel()
	for accept, want := range map[string]bool{
		"text/event-stream":                                true,
		"Text/Event-Stream":                                true,
		"text/event-stream; charset=utf-8":                 true,
		"text/event-stream, */*":                           true,
		"*/*, text/event-stream":                           true,
		"application/jsonl, text/event-stream":             true,
		"application/jsonl;q=0.4, text/event-stream;q=0.5": true,
		"text/*":                     true,
		"*/*, application/jsonl;q=0": true,
		"text/event-stream;q=0, text/event-stream":                true,
		`text/html;title="a, \"b;q=0", text/event-stream;q=0.001`: true,

		"":                                      false,
		"*/*":                                   false,
		"application/json":                      false,
		"text/html":                             false,
		"text/event-stream;q=0":                 false,
		"text/event-stream; Q=0.000":            false,
		"text/event-stream;q=x":                 false,
		"text/event-stream;q=0, text/*":         false,
		"text/event-stream;q=0.5, */*":          false,
		"text/*;q=0.5, application/*":           false,
		"application/jsonl, text/*":             false,
		"text/event-streams":                    false,
		"application/text/event-stream":         false,
		"text/html;title=text/event-stream":     false,
		`text/html;title=", text/event-stream"`: false,
		"application/jsonl, text/event-stream;charset=utf-8;q=0.9": false,
	} {
		if got := acceptsEvents(http.Header{"Accept": {accept}}); got != want {
			t.Errorf("%q: %v, want %v", accept, got, want)
		}
	}
	if acceptsEvents(nil) {
		t.Error("an event stream without Accept")
	}
	if !acceptsEvents(http.Header{"Accept": {"text/html", "text/event-stream"}}) {
		t.Error("the second line of Accept is ignored")
	}
}

// FuzzAccept compares acceptsEvents with what the mime package reads.
func FuzzAccept(f *testing.F) {
	for _, accept := range []string{"", "*/*", "text/event-stream;q=0", "text/event-stream;q=0.5, application/jsonl;q=0.25", `a/b;c="\",", text/*`, ";;,=q", `"`} {
		f.Add(accept)
	}
	f.Fuzz(func(t *testing.T, accept string) {
		got := acceptsEvents(http.Header{"Accept": {accept}})
		if !acceptsEvents(http.Header{"Accept": {eventStream, accept}}) {
			t.Errorf("an event stream is not sent although it is named first: %q", accept)
		}
		upper := strings.ToUpper(accept)
		//nolint:staticcheck // EqualFold takes more letters for the same
		if strings.ToLower(upper) == strings.ToLower(accept) && acceptsEvents(http.Header{"Accept": {upper}}) != got {
			t.Errorf("the case of %q matters", accept)
		}
		if want, known := acceptsEventsByMIME(accept); known && got != want {
			t.Errorf("%q: %v, want %v", accept, got, want)
		}
	})
}

// acceptsEventsByMIME is acceptsEvents by the mime package, where that reads a list as the RFC does.
func acceptsEventsByMIME(accept string) (accepts, known bool) {
	ranges := strings.NewReplacer("*/*", "any", "/*", "/any").Replace(accept)
	if strings.ContainsFunc(ranges, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '*' }) {
		return false, false // white space around =, and RFC 2231
	}
	weights := map[string]int{}
	for part := range strings.SplitSeq(accept, ",") {
		name, params, err := mime.ParseMediaType(part)
		if err != nil {
			return false, false
		}
		q := 1000
		if text, ok := params["q"]; ok {
			q = thousandths(text)
		}
		weights[name] = max(weights[name], q)
	}
	weight := func(names ...string) int {
		for _, name := range names {
			if q, ok := weights[name]; ok {
				return q
			}
		}
		return 0
	}
	events, lines := weight(eventStream, "text/*", "*/*"), weight(jsonLines, "application/*", "*/*")
	_, named := weights[eventStream]
	return events > lines || events == lines && events > 0 && named, true
}
