package httpapi

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Whatever the Range, each range of the response has a byte and is of the file.
func FuzzRange(f *testing.F) {
	const content = "0123456789abcdefghij"
	for _, given := range []string{"bytes=0-4", "bytes=-0", "bytes=-3,5-", "items=0-1", "bytes=-99999999999999999999", "bytes=+0-1", "BYTES= - 1 ,,", "bytes=--0"} {
		f.Add(given, true)
		f.Add(given, false)
	}
	f.Fuzz(func(t *testing.T, given string, empty bool) {
		file := content
		if empty {
			file = ""
		}
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		r.Header.Set("Range", given)
		own, err := forServeContent(r, strings.NewReader(file))
		if err != nil || r.Header.Get("Range") != given {
			t.Fatalf("%q: %v, the request has Range %q now", given, err, r.Header.Get("Range"))
		}
		w := httptest.NewRecorder()
		w.Header().Set("Content-Type", "text/plain")
		http.ServeContent(w, own, "", modified, strings.NewReader(file))
		known := len(given) >= 6 && strings.EqualFold(given[:6], "bytes=")
		switch {
		case (empty || !known) && w.Code != http.StatusOK:
			t.Errorf("%q, empty %v: status %d", given, empty, w.Code)
		case w.Code == http.StatusOK && w.Body.String() != file:
			t.Errorf("%q: %q instead of the whole file", given, w.Body)
		case w.Code == http.StatusPartialContent:
			checkRanges(t, given, w)
		case w.Code != http.StatusOK && w.Code != http.StatusRequestedRangeNotSatisfiable:
			t.Errorf("%q: status %d", given, w.Code)
		}
	})
}

// checkRanges checks the header Content-Range of a response and of its parts.
func checkRanges(t *testing.T, given string, w *httptest.ResponseRecorder) {
	t.Helper()
	_, rest, ok := strings.Cut("Content-Range: "+w.Header().Get("Content-Range")+"\r\n"+w.Body.String(), "Content-Range: bytes ")
	for ok {
		var text string
		text, rest, ok = strings.Cut(rest, "Content-Range: bytes ")
		var first, last, size int
		if _, err := fmt.Sscanf(text, "%d-%d/%d", &first, &last, &size); err != nil || first < 0 || first > last || last >= size {
			t.Errorf("%q: the range %d-%d/%d, %v", given, first, last, size, err)
		}
	}
}
