package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strings"
	"testing"

	"github.com/chassi-go/chassi"
)

func TestSecureHeaders(t *testing.T) {
	t.Parallel()
	want := map[string]string{
		"X-Content-Type-Options":  "nosniff",
		"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
	}
	plain, overTLS := make(http.Header), make(http.Header)
	newSecureHeaders(false).set(plain)
	newSecureHeaders(true).set(overTLS)
	for name, value := range want {
		if plain.Get(name) != value || overTLS.Get(name) != value {
			t.Errorf("%s: %q, over TLS %q, want %q", name, plain.Get(name), overTLS.Get(name), value)
		}
	}
	if got := plain.Get("Strict-Transport-Security"); got != "" {
		t.Errorf("Strict-Transport-Security without TLS: %q", got)
	}
	if got := overTLS.Get("Strict-Transport-Security"); got != "max-age=31536000" {
		t.Errorf("Strict-Transport-Security over TLS: %q", got)
	}
}

// One response's headers must not show in the next, whatever a handler does to its
// own through http.Header's methods.
func TestSecureHeadersAreNotSharedByAppending(t *testing.T) {
	t.Parallel()
	s := newSecureHeaders(true)
	first := make(http.Header)
	s.set(first)
	for name := range first {
		first.Add(name, "more")
		first.Set(name, "other")
	}
	second := make(http.Header)
	s.set(second)
	for name, values := range second {
		if len(values) != 1 || cap(values) != 1 || values[0] == "more" || values[0] == "other" {
			t.Errorf("%s: %q (capacity %d)", name, values, cap(values))
		}
	}
}

func TestHotPathOfSecureDoesNotAllocate(t *testing.T) {
	s, h := newSecureHeaders(true), make(http.Header)
	s.set(h)
	if n := testing.AllocsPerRun(100, func() { s.set(h) }); n != 0 {
		t.Errorf("set allocates %v times", n)
	}
	if n := testing.AllocsPerRun(100, func() { kindOf("/v1/users/%C3%A9/keys.json") }); n != 0 {
		t.Errorf("kindOf allocates %v times", n)
	}
}

// A path with several readings is refused (T48 and fault 19).
func TestCleanPathT48(t *testing.T) {
	t.Parallel()
	clean := []string{"/", "/v1/auth", "/v1/auth/", "/.well-known/jwks.json", "/a.b", "/a/..b", "/a/b..", "/...", "/a%20b", "/%C3%A9", "/%252f", "/a,b=c@d:e!$&'()*+~_-"}
	for _, p := range clean {
		if kindOf(p) != cleanPath {
			t.Errorf("kindOf(%q) = %v", p, kindOf(p))
		}
	}
	unclean := []string{
		"", "*", "v1/auth", "**", "//", "//v1/auth", "/v1//auth", "/v1/auth//", "/.", "/..", "/./", "/../", "/v1/./auth", "/v1/../auth", "/v1/.", "/v1/..",
		"/v1%2fauth", "/v1%2Fauth", "/v1%5cauth", "/v1%5Cauth", "/v1/auth%00", "/%2e%2e/auth", "/v1/%2E/auth", "/v1/.%2e/auth",
		"/v1/auth;x", "/v1/auth;x=1/y", "/v1/auth%3bx", `/v1\auth`, "/v1\x00auth", "/v1/auth%", "/v1/auth%2",
	}
	for _, p := range unclean {
		if kindOf(p) == cleanPath {
			t.Errorf("kindOf(%q) = %v", p, kindOf(p))
		}
	}
}

// A clean path has one reading: unescaped and cleaned it is still itself, with the
// same segments.
func FuzzCleanPath(f *testing.F) {
	for _, p := range []string{"/", "/v1/auth", "/a//b", "/a/../b", "/a%2fb", "/a%2e", "/a;b", "/%", "/a/.", "/é", "/a%5c"} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, escaped string) {
		if kindOf(escaped) != cleanPath {
			return
		}
		plain, err := url.PathUnescape(escaped)
		if err != nil {
			return // net/http has refused it
		}
		trimmed := plain
		if plain != "/" {
			trimmed = strings.TrimSuffix(plain, "/")
		}
		if path.Clean(plain) != trimmed || strings.ContainsAny(plain, ";\\\x00") || strings.Count(plain, "/") != strings.Count(escaped, "/") {
			t.Errorf("%q passes and reads %q", escaped, plain)
		}
	})
}

func BenchmarkCleanPath(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		kindOf("/v1/validate-token")
	}
}

func BenchmarkSecureHeaders(b *testing.B) {
	s, h := newSecureHeaders(false), make(http.Header)
	b.ReportAllocs()
	for b.Loop() {
		s.set(h)
	}
}

// A slash behind an escape is part of a value where a wildcard takes one segment, and
// nothing else anywhere.
func TestEscapedSlashes(t *testing.T) {
	t.Parallel()
	type request struct {
		ID   string `path:"id"`
		Rest string `path:"rest"`
	}
	method := func(_ context.Context, r *request) (*echoResponse, error) {
		return &echoResponse{Text: r.ID + "," + r.Rest}, nil
	}
	url := serveTest(t, Config{}, func(s *Server) {
		mustMount(t, s, chassi.NewEndpoint("Rest", method, chassi.Route("GET /rest/{id}/{rest...}"), chassi.Public))
		if err := s.Handle("GET /files/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.URL.Path) }), chassi.Public); err != nil {
			t.Fatal(err)
		}
	})
	for path, want := range map[string]string{
		"/things/a%2Fb": "a/b -1", "/things/a%2fb%5Cc%3Bd": `a/b\\c;d -1`, "/things/..%2F..": "../.. -1",
		"/things%2Fa": "no_such_path", "/things/%2E%2E": "no_such_path", "/things/a%00": "no_such_path", "/things/a/": "no_such_path", "/%65cho": "method_not_allowed",
		"/rest/a%2Fb/c/d": "a/b,c/d", "/rest/a/c%2Fd": "no_such_path", "/rest/a/c%2fd": "no_such_path", "/rest/a/c%5Cd": `a,c\\d`,
		"/files/a/b": "/files/a/b", "/files/a%2Fb": "no_such_path", "/files/a%5Cb": "no_such_path", "/files/..%2fb": "no_such_path",
	} {
		if response, body := ask(t, "GET", url+path, ""); !strings.Contains(body, want) {
			t.Errorf("%s: %d %s, want %s", path, response.StatusCode, body, want)
		}
	}
}
