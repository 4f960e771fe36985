package httpapi

import (
	"net/http"
	"net/url"
	"path"
	"strings"
	"testing"
)

func TestSecureHeaders(t *testing.T) {
	t.Parallel()
	want := map[string]string{
		"X-Content-Type-Options":  "nosniff",
		"X-Frame-Options":         "DENY",
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

// One answer's headers must not show in the next, whatever a handler does to its
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
	if n := testing.AllocsPerRun(100, func() { cleanPath("/v1/users/%C3%A9/keys.json") }); n != 0 {
		t.Errorf("cleanPath allocates %v times", n)
	}
}

// T48 and fault 19: a path that somebody may read otherwise is refused.
func TestCleanPathT48(t *testing.T) {
	t.Parallel()
	clean := []string{"/", "/v1/auth", "/v1/auth/", "/.well-known/jwks.json", "/a.b", "/a/..b", "/a/b..", "/...", "/a%20b", "/%C3%A9", "/%252f", "/a,b=c@d:e!$&'()*+~_-"}
	for _, p := range clean {
		if !cleanPath(p) {
			t.Errorf("cleanPath(%q) = false", p)
		}
	}
	unclean := []string{
		"", "*", "v1/auth", "**", "//", "//v1/auth", "/v1//auth", "/v1/auth//", "/.", "/..", "/./", "/../", "/v1/./auth", "/v1/../auth", "/v1/.", "/v1/..",
		"/v1%2fauth", "/v1%2Fauth", "/v1%5cauth", "/v1%5Cauth", "/v1/auth%00", "/%2e%2e/auth", "/v1/%2E/auth", "/v1/.%2e/auth",
		"/v1/auth;x", "/v1/auth;x=1/y", "/v1/auth%3bx", `/v1\auth`, "/v1\x00auth", "/v1/auth%", "/v1/auth%2",
	}
	for _, p := range unclean {
		if cleanPath(p) {
			t.Errorf("cleanPath(%q) = true", p)
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
		if !cleanPath(escaped) {
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
		cleanPath("/v1/validate-token")
	}
}

func BenchmarkSecureHeaders(b *testing.B) {
	s, h := newSecureHeaders(false), make(http.Header)
	b.ReportAllocs()
	for b.Loop() {
		s.set(h)
	}
}
