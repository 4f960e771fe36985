package httpapi

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chassi-go/chassi"
)

// sizedHandler declares and writes as many bytes as the query says: d declared, a and b
// written in two pieces, with a flush between them for f.
func sizedHandler(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	number := func(name string) (n int) { _, _ = fmt.Sscan(q.Get(name), &n); return n }
	w.Header().Set("Content-Type", "text/plain")
	if q.Has("d") {
		w.Header().Set("Content-Length", q.Get("d"))
	}
	for _, name := range []string{"a", "b"} {
		if n := number(name); n > 0 {
			_, _ = io.WriteString(w, strings.Repeat("x", n))
		}
		if name == "a" && q.Has("f") {
			_ = http.NewResponseController(w).Flush()
		}
	}
}

// A body is compressed from compress_min_bytes on, which are 1,024 here: as it is declared,
// or else as it was written until then.
func TestSizeFromWhichBodiesAreCompressed(t *testing.T) {
	t.Parallel()
	url := serveCompressed(t, sizedHandler)
	for _, c := range []struct {
		method, query string
		compressed    bool
	}{
		{"GET", "a=1024", true},
		{"GET", "a=1023", false},
		{"GET", "a=600&b=424", true},
		{"GET", "a=600&b=423", false},
		{"GET", "d=1024&a=600&b=424", true},
		{"GET", "d=1023&a=600&b=423", false},
		{"GET", "a=1&b=1&f=1", true}, // has more to say
		{"GET", "d=1024&a=1&b=1023&f=1", true},
		{"GET", "d=1023&a=1&b=1022&f=1", false},
		{"GET", "d=1023&b=1023&f=1", false},
		{"HEAD", "d=1024&f=1", true},
		{"HEAD", "d=1023&f=1", false},
		{"HEAD", "a=1024", true},
		{"HEAD", "a=1023", false},
	} {
		response, body := fetch(t, c.method, url+"?"+c.query, "Accept-Encoding", "gzip")
		if got := response.Header.Get("Content-Encoding") == "gzip"; got != c.compressed {
			t.Errorf("%s %s: compressed %v", c.method, c.query, got)
		} else if got && c.method == "GET" && strings.Trim(decode(t, gzipCoding, body), "x") != "" {
			t.Errorf("%s %s: %q", c.method, c.query, body)
		}
	}
}

// The first status is the one that counts, and 304 has the entity tag of the body that the
// client has.
func TestStatusAndEntityTagOfACompressWriter(t *testing.T) {
	t.Parallel()
	url := serveCompressed(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", r.URL.Query().Get("tag"))
		w.WriteHeader(http.StatusNotModified)
		w.WriteHeader(http.StatusInternalServerError)
	})
	for _, c := range []struct{ tag, has, want, vary string }{
		{`"x"`, `"x"`, `"x"`, ""},
		{`"x"`, `W/"x"`, `W/"x"`, "Accept-Encoding"},
		{`"x"`, `"y", W/"x"`, `W/"x"`, "Accept-Encoding"},
		{`W/"x"`, `W/"x"`, `W/"x"`, ""},
		{`"x"`, ``, `"x"`, ""},
	} {
		response, _ := fetch(t, "GET", url+"?tag="+c.tag, "Accept-Encoding", "gzip", "If-None-Match", c.has)
		if response.StatusCode != http.StatusNotModified || response.Header.Get("ETag") != c.want || response.Header.Get("Vary") != c.vary {
			t.Errorf("%s for %s: %d, %s, Vary %q", c.tag, c.has, response.StatusCode, response.Header.Get("ETag"), response.Header.Get("Vary"))
		}
	}
}

// Origins are what browsers send: lower-case names and addresses with any port but the usual
// one.
func TestCORSAcceptsOrigins(t *testing.T) {
	t.Parallel()
	for _, origin := range []string{
		"https://a-z_09.example", "http://0", "http://9z.example", "http://zaz", "http://[2001:db8::1]:1",
		"http://a.example:443", "https://a.example:80", "https://a.example:1", "https://a.example:65535",
	} {
		s, err := New(Config{CORS: CORS{Origins: []string{origin}}})
		if err != nil {
			t.Errorf("%s: %v", origin, err)
			continue
		}
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Origin", origin)
		w := httptest.NewRecorder()
		if s.setCORS(w, r); w.Header().Get("Access-Control-Allow-Origin") != origin {
			t.Errorf("%s: %v", origin, w.Header())
		}
	}
	for origin, want := range map[string]string{
		"https://": "scheme://host", "http://[1:2]": "want", "http://a.example:080": "port from 1", "http://a/": "want only scheme://host",
	} {
		if _, err := New(Config{CORS: CORS{Origins: []string{origin}}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", origin, err, want)
		}
	}
}

// The names of headers and methods are tokens.
func TestTokens(t *testing.T) {
	t.Parallel()
	for i := range 128 {
		c := rune(i)
		want := c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.ContainsRune("!#$%&'*+-.^_`|~", c)
		if isToken(string(c)) != want || isToken("a"+string(c)) != want || isToken(string(c)+"a") != want {
			t.Errorf("%q: want %v", c, want)
		}
	}
	if isToken("") || isToken("ä") {
		t.Error("what is not a token is taken")
	}
}

// The body of a request is taken as it is, whether or not its header says so.
func TestContentEncodingOfARequest(t *testing.T) {
	t.Parallel()
	url := serveTest(t, Config{}, nil) + "/echo"
	for encoding, want := range map[string]int{"identity": 200, "Identity": 200, "": 200, "gzip": 415, "identity, gzip": 415} {
		if response, body := ask(t, "POST", url, `{"text":"x"}`, "Content-Encoding", encoding); response.StatusCode != want {
			t.Errorf("%q: %d %s", encoding, response.StatusCode, body)
		}
	}
}

// Bodies may be as long as the limit, with and without a stated length.
func TestBodiesOfTheLargestSize(t *testing.T) {
	t.Parallel()
	const limit = 20
	url := serveTest(t, Config{MaxBodyBytes: limit}, nil) + "/echo"
	for n, want := range map[int]int{limit: 200, limit + 1: 413} {
		body := `{"text":"` + strings.Repeat("x", n-11) + `"}`
		for _, reader := range []io.Reader{strings.NewReader(body), io.MultiReader(strings.NewReader(body[:5]), strings.NewReader(body[5:]))} {
			response, err := http.Post(url, "application/json", reader)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, response.Body)
			if response.Body.Close(); response.StatusCode != want {
				t.Errorf("%d bytes: %d, want %d", n, response.StatusCode, want)
			}
		}
	}
}

// A route works only within its server, which is what bounds and logs its calls.
func TestARouteOutsideOfItsServer(t *testing.T) {
	t.Parallel()
	s, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	mustMount(t, s, chassi.NewEndpoint("Get", func(context.Context, *nothing) (*nothing, error) { return &nothing{}, nil }, chassi.Route("GET /thing"), chassi.Public))
	w := httptest.NewRecorder()
	if s.mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/thing", nil)); w.Code != http.StatusInternalServerError {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
