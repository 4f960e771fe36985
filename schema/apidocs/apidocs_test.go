package apidocs_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/chassi-go/chassi/schema/apidocs"
)

// byDefault is shared between tests: it keeps the renderer once it is decompressed.
var byDefault = sync.OnceValues(func() (http.Handler, error) { return apidocs.Handler(apidocs.Options{}) })

// get answers a request to what Handler returns. Headers are pairs.
func get(t *testing.T, o apidocs.Options, url string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	h, err := byDefault()
	if o != (apidocs.Options{}) {
		h, err = apidocs.Handler(o)
	}
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// linked returns the URL of a script as the page links it.
func linked(t *testing.T, name string) string {
	t.Helper()
	url := regexp.MustCompile(`docs/` + name + `\?v=[0-9a-f]{16}`).FindString(get(t, apidocs.Options{}, "/docs").Body.String())
	if url == "" {
		t.Fatalf("the page does not link %s", name)
	}
	return "/" + url
}

func expectHeaders(t *testing.T, w *httptest.ResponseRecorder, want map[string]string) {
	t.Helper()
	for name, value := range want {
		if got := w.Header().Get(name); got != value {
			t.Errorf("%s: %q, want %q", name, got, value)
		}
	}
}

func TestPage(t *testing.T) {
	t.Parallel()
	w := get(t, apidocs.Options{Title: "a <b> & c"}, "/docs")
	expectHeaders(t, w, map[string]string{
		"Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff",
		"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; img-src 'self' data:; " +
			"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
	})
	body := w.Body.String()
	if !strings.Contains(body, "<title>a &lt;b&gt; &amp; c</title>") || !strings.Contains(body, `data-document="openapi.json" data-root="./"`) {
		t.Error(body)
	}
	for _, bad := range []string{"://", `"//`, "{{", "<style", "style=", "<script>"} {
		if strings.Contains(body, bad) {
			t.Errorf("the page has %s:\n%s", bad, body)
		}
	}
	if w := get(t, apidocs.Options{Title: "a <b> & c"}, "/docs", "If-None-Match", w.Header().Get("ETag")); w.Code != http.StatusNotModified {
		t.Errorf("an unchanged page: %d", w.Code)
	}
	if w := get(t, apidocs.Options{Title: "other"}, "/docs", "If-None-Match", w.Header().Get("ETag")); w.Code != http.StatusOK {
		t.Errorf("a changed page: %d", w.Code)
	}
}

// Every URL is relative to the page, at any depth.
func TestPageBelowOtherPaths(t *testing.T) {
	t.Parallel()
	body := get(t, apidocs.Options{Path: "/v2/about/api", Document: "/v2/contract.json"}, "/v2/about/api").Body.String()
	for _, want := range []string{`data-document="../../v2/contract.json"`, `data-root="./../../"`, `src="api/scalar.js?v=`, `src="api/start.js?v=`} {
		if !strings.Contains(body, want) {
			t.Errorf("%s is not in\n%s", want, body)
		}
	}
	if w := get(t, apidocs.Options{Path: "/v2/about/api"}, "/v2/about/api/start.js"); w.Code != http.StatusOK {
		t.Errorf("its script: %d", w.Code)
	}
}

func TestScriptsAreCached(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"scalar.js", "start.js"} {
		w := get(t, apidocs.Options{}, linked(t, name), "Accept-Encoding", "gzip")
		expectHeaders(t, w, map[string]string{
			"Content-Type": "text/javascript; charset=utf-8", "X-Content-Type-Options": "nosniff",
			"Cache-Control": "public, max-age=31536000, immutable",
		})
		again := get(t, apidocs.Options{}, linked(t, name), "Accept-Encoding", "gzip", "If-None-Match", w.Header().Get("ETag"))
		if again.Code != http.StatusNotModified {
			t.Errorf("%s again: %d", name, again.Code)
		}
		expectHeaders(t, get(t, apidocs.Options{}, "/docs/"+name+"?v=older"), map[string]string{"Cache-Control": "no-cache"})
	}
}

// The renderer is sent as it is embedded, by gzip, or decompressed to a client that does
// not take gzip: the same script, which is the published one.
func TestRendererIsThePublishedOne(t *testing.T) {
	t.Parallel()
	bundle, err := os.ReadFile("scalar/BUNDLE")
	if err != nil {
		t.Fatal(err)
	}
	compressed, plain := get(t, apidocs.Options{}, linked(t, "scalar.js"), "Accept-Encoding", "br, gzip"), get(t, apidocs.Options{}, linked(t, "scalar.js"))
	expectHeaders(t, compressed, map[string]string{"Content-Encoding": "gzip", "Vary": "Accept-Encoding"})
	expectHeaders(t, plain, map[string]string{"Content-Encoding": "", "Vary": "Accept-Encoding"})
	if compressed.Header().Get("ETag") == plain.Header().Get("ETag") {
		t.Error("both forms have one ETag")
	}
	z, err := gzip.NewReader(compressed.Body)
	if err != nil {
		t.Fatal(err)
	}
	decompressed, err := io.ReadAll(z)
	if err != nil || !bytes.Equal(decompressed, plain.Body.Bytes()) {
		t.Errorf("%v: the two forms differ", err)
	}
	sum := sha256.Sum256(decompressed)
	if want := "script_sha256 " + hex.EncodeToString(sum[:]) + "\n"; !strings.Contains(string(bundle), want) {
		t.Errorf("scalar/BUNDLE does not have %s; run scripts/apidocs.sh", want)
	}
}

func TestAcceptEncoding(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]string{
		"gzip": "gzip", "GZIP;q=0.5": "gzip", "deflate, x-gzip": "gzip", "*": "gzip", "br;q=1, *;q=0.1": "gzip",
		"": "", "br": "", "gzip;q=0": "", "gzip; q=0.000, *": "", "*;q=0": "", "identity": "",
	} {
		w := get(t, apidocs.Options{}, "/docs/scalar.js", "Accept-Encoding", header)
		if got := w.Header().Get("Content-Encoding"); got != want {
			t.Errorf("%q: %q, want %q", header, got, want)
		}
	}
}

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	for _, o := range []apidocs.Options{{Path: "docs"}, {Path: "/docs/"}, {Path: "/"}, {Path: "/{docs}"}, {Path: "/a//b"}, {Document: "https://example.org/openapi.json"}} {
		if _, err := apidocs.Handler(o); err == nil || !strings.Contains(err.Error(), ": want an absolute path such as /docs") {
			t.Errorf("%+v: %v", o, err)
		}
	}
}
