package httpapi

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/google/go-cmp/cmp"
)

// corsServer returns a server that has not been started, with one path.
func corsServer(t testing.TB, c CORS) *Server {
	t.Helper()
	s, err := New(Config{CORS: c, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const app = "https://app.example.com"

func TestCORSHeaders(t *testing.T) {
	t.Parallel()
	const (
		origin  = "Access-Control-Allow-Origin"
		creds   = "Access-Control-Allow-Credentials"
		methods = "Access-Control-Allow-Methods"
		headers = "Access-Control-Allow-Headers"
		expose  = "Access-Control-Expose-Headers"
		maxAge  = "Access-Control-Max-Age"
		exposed = "Idempotency-Replayed, X-Request-Id, Ratelimit, Ratelimit-Policy, Retry-After, Stream-Heartbeat-Ms"
		preVary = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"
	)
	one := CORS{Origins: []string{app}, MaxAge: 10 * time.Minute}
	withCreds := CORS{Origins: []string{"HTTPS://App.Example.com", "http://localhost:3000", "http://[::1]:3000"}, Credentials: true}
	anyone := CORS{Origins: []string{"*"}}
	nothing := CORS{Origins: []string{app}, Methods: []string{"GET"}, Headers: []string{}, Expose: []string{}}
	preflight := func(origin, headers string) http.Header {
		h := http.Header{"Origin": {origin}, "Access-Control-Request-Method": {"PUT"}, "Access-Control-Request-Private-Network": {"true"}}
		if headers != "" {
			h["Access-Control-Request-Headers"] = strings.Split(headers, "|")
		}
		return h
	}
	cases := map[string]struct {
		cors   CORS
		method string
		sent   http.Header
		status int // 204 for a preflight, else 200: nothing was written
		want   http.Header
	}{
		"known":                  {one, "GET", http.Header{"Origin": {app}}, 200, http.Header{"Vary": {"Origin"}, origin: {app}, expose: {exposed}}},
		"foreign":                {one, "GET", http.Header{"Origin": {"https://evil.example"}}, 200, http.Header{"Vary": {"Origin"}}},
		"none":                   {one, "GET", nil, 200, http.Header{"Vary": {"Origin"}}},
		"null":                   {one, "GET", http.Header{"Origin": {"null"}}, 200, http.Header{"Vary": {"Origin"}}},
		"prefix":                 {one, "GET", http.Header{"Origin": {app + ".evil.example"}}, 200, http.Header{"Vary": {"Origin"}}},
		"other scheme":           {one, "GET", http.Header{"Origin": {"http://app.example.com"}}, 200, http.Header{"Vary": {"Origin"}}},
		"other port":             {one, "GET", http.Header{"Origin": {app + ":8443"}}, 200, http.Header{"Vary": {"Origin"}}},
		"credentials":            {withCreds, "POST", http.Header{"Origin": {app}}, 200, http.Header{"Vary": {"Origin"}, origin: {app}, creds: {"true"}, expose: {exposed}}},
		"with port":              {withCreds, "POST", http.Header{"Origin": {"http://localhost:3000"}}, 200, http.Header{"Vary": {"Origin"}, origin: {"http://localhost:3000"}, creds: {"true"}, expose: {exposed}}},
		"IPv6":                   {withCreds, "POST", http.Header{"Origin": {"http://[::1]:3000"}}, 200, http.Header{"Vary": {"Origin"}, origin: {"http://[::1]:3000"}, creds: {"true"}, expose: {exposed}}},
		"any":                    {anyone, "GET", http.Header{"Origin": {app}}, 200, http.Header{"Vary": {"Origin"}, origin: {"*"}, expose: {exposed}}},
		"any, null":              {anyone, "GET", http.Header{"Origin": {"null"}}, 200, http.Header{"Vary": {"Origin"}, origin: {"*"}, expose: {exposed}}},
		"own method":             {CORS{Origins: []string{app}, Expose: []string{}}, "REPORT", http.Header{"Origin": {app}}, 200, http.Header{"Vary": {"Origin"}, origin: {app}}},
		"method not listed":      {nothing, "POST", http.Header{"Origin": {app}}, 200, http.Header{"Vary": {"Origin"}}},
		"preflight":              {one, "OPTIONS", preflight(app, ""), 204, http.Header{"Vary": {preVary}, origin: {app}, methods: {"PUT"}, maxAge: {"600"}}},
		"preflight, headers":     {one, "OPTIONS", preflight(app, "authorization,content-type|x-request-id"), 204, http.Header{"Vary": {preVary}, origin: {app}, methods: {"PUT"}, headers: {"authorization,content-type", "x-request-id"}, maxAge: {"600"}}},
		"preflight, resume":      {one, "OPTIONS", preflight(app, "authorization,last-event-id"), 204, http.Header{"Vary": {preVary}, origin: {app}, methods: {"PUT"}, headers: {"authorization,last-event-id"}, maxAge: {"600"}}},
		"preflight, bad header":  {one, "OPTIONS", preflight(app, "content-type|x-evil"), 204, http.Header{"Vary": {preVary}}},
		"preflight, foreign":     {one, "OPTIONS", preflight("https://evil.example", ""), 204, http.Header{"Vary": {preVary}}},
		"preflight, credentials": {withCreds, "OPTIONS", preflight(app, ""), 204, http.Header{"Vary": {preVary}, origin: {app}, creds: {"true"}, methods: {"PUT"}}},
		"preflight, any":         {anyone, "OPTIONS", preflight(app, "content-type"), 204, http.Header{"Vary": {preVary}, origin: {"*"}, methods: {"PUT"}, headers: {"content-type"}}},
		"preflight, own methods": {nothing, "OPTIONS", preflight(app, ""), 204, http.Header{"Vary": {preVary}}},
		"preflight, no headers":  {CORS{Origins: []string{app}, Headers: []string{}}, "OPTIONS", preflight(app, "content-type"), 204, http.Header{"Vary": {preVary}}},
		"OPTIONS of a page":      {one, "OPTIONS", http.Header{"Origin": {app}}, 200, http.Header{"Vary": {"Origin"}, origin: {app}, expose: {exposed}}},
		"preflight of nobody":    {one, "OPTIONS", http.Header{"Access-Control-Request-Method": {"POST"}}, 204, http.Header{"Vary": {preVary}}},
		"request method on POST": {one, "POST", preflight(app, ""), 200, http.Header{"Vary": {"Origin"}, origin: {app}, expose: {exposed}}},
		"no policy":              {CORS{}, "OPTIONS", preflight(app, ""), 200, http.Header{}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(c.method, "/", nil)
			r.Header = c.sent
			s, w := corsServer(t, c.cors), httptest.NewRecorder()
			s.methods = []string{"REPORT"}
			s.setCORS(w, r)
			if w.Code != c.status {
				t.Errorf("status %d, want %d", w.Code, c.status)
			}
			if diff := cmp.Diff(c.want, w.Header()); diff != "" {
				t.Errorf("headers (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCORSKeepsVary(t *testing.T) {
	t.Parallel()
	s, w := corsServer(t, CORS{Origins: []string{app}}), httptest.NewRecorder()
	w.Header()["Vary"] = []string{"Accept-Language"}
	s.setCORS(w, httptest.NewRequest(http.MethodGet, "/", nil))
	addVary(w.Header(), varyEncoding)
	if diff := cmp.Diff([]string{"Accept-Language", "Origin", "Accept-Encoding"}, w.Header().Values("Vary")); diff != "" {
		t.Error(diff)
	}
	w = httptest.NewRecorder()
	if s.setCORS(w, httptest.NewRequest(http.MethodGet, "/", nil)); w.Header().Get("Vary") != "Origin" {
		t.Errorf("the shared value changed: %v", w.Header())
	}
}

func TestCORSRefusesSettings(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		cors CORS
		want string
	}{
		"any with credentials": {CORS{Origins: []string{"*"}, Credentials: true}, "credentials"},
		"any among others":     {CORS{Origins: []string{app, "*"}, Credentials: true}, "credentials"},
		"null":                 {CORS{Origins: []string{"null"}}, `"null"`},
		"no scheme":            {CORS{Origins: []string{"app.example.com"}}, "scheme://host"},
		"host and port":        {CORS{Origins: []string{"localhost:3000"}}, "scheme://host"},
		"empty":                {CORS{Origins: []string{""}}, "scheme://host"},
		"slash":                {CORS{Origins: []string{app + "/"}}, "want only scheme://host"},
		"query":                {CORS{Origins: []string{app + "?"}}, "want only scheme://host"},
		"fragment":             {CORS{Origins: []string{app + "#"}}, "want only scheme://host"},
		"user":                 {CORS{Origins: []string{"https://me@app.example.com"}}, "want only scheme://host"},
		"wildcard":             {CORS{Origins: []string{"https://*.example.com"}}, "exact host"},
		"letters":              {CORS{Origins: []string{"https://bücher.example"}}, "xn--"},
		"space":                {CORS{Origins: []string{"https://app.example.com https://b.example"}}, "scheme://host"},
		"default port":         {CORS{Origins: []string{app + ":443"}}, "write " + app},
		"default port, http":   {CORS{Origins: []string{"http://a.example:80"}}, "write http://a.example"},
		"no port":              {CORS{Origins: []string{app + ":"}}, "port"},
		"port 0":               {CORS{Origins: []string{app + ":0"}}, "port"},
		"port too large":       {CORS{Origins: []string{app + ":65536"}}, "port"},
		"zone":                 {CORS{Origins: []string{"http://[fe80::1%25eth0]"}}, ""},
		"any header":           {CORS{Origins: []string{app}, Headers: []string{"*"}}, "headers"},
		"line break in header": {CORS{Origins: []string{app}, Headers: []string{"X\r\nSet-Cookie: a=b"}}, "headers"},
		"list as one header":   {CORS{Origins: []string{app}, Headers: []string{"A, B"}}, "headers"},
		"empty exposed header": {CORS{Origins: []string{app}, Expose: []string{""}}, "expose"},
		"any method":           {CORS{Origins: []string{app}, Methods: []string{"*"}}, "methods"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := New(Config{CORS: c.cors}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("New with %+v: %v, want an error with %q", c.cors, err, c.want)
			}
		})
	}
}

func BenchmarkCORS(b *testing.B) {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	r.Header.Set("Origin", app)
	for name, c := range map[string]CORS{"off": {}, "on": {Origins: []string{app}}} {
		b.Run(name, func(b *testing.B) {
			s := corsServer(b, c)
			b.ReportAllocs()
			for b.Loop() {
				clear(w.Header())
				s.setCORS(w, r)
			}
		})
	}
}

// Pages get the headers on every response of a server, errors included. Preflights go
// through the middleware like other requests, also those of unknown paths.
func TestCORSOnAServer(t *testing.T) {
	t.Parallel()
	var preflights atomic.Int64
	count := func(b *chassi.Binding, next chassi.Handler) chassi.Handler {
		return func(ctx context.Context, call *chassi.Call) error {
			if b.Method == http.MethodOptions {
				preflights.Add(1)
			}
			return next(ctx, call)
		}
	}
	s, err := New(Config{Addr: "127.0.0.1:0", CORS: CORS{Origins: []string{app}}, Logger: slog.New(slog.DiscardHandler)}, count)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Handle("POST /v1/auth", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }), chassi.Public); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Stop(context.Background()) })
	url := "http://" + s.Addr().String()

	const asks = "Access-Control-Request-Method"
	resp, _ := fetch(t, http.MethodOptions, url+"/v1/auth", "Origin", app, asks, "POST", "Access-Control-Request-Headers", "content-type")
	if h := resp.Header; resp.StatusCode != http.StatusNoContent || h.Get("Access-Control-Allow-Origin") != app ||
		!strings.Contains(h.Get("Access-Control-Allow-Methods"), "POST") || h.Get("Access-Control-Allow-Headers") == "" {
		t.Errorf("preflight: %s %v", resp.Status, h)
	}
	resp, _ = fetch(t, http.MethodOptions, url+"/v1/auth", "Origin", "https://evil.example", asks, "POST")
	if resp.Header.Get("Access-Control-Allow-Origin") != "" || !strings.Contains(resp.Header.Get("Vary"), "Origin") {
		t.Errorf("foreign preflight: %v", resp.Header)
	}
	resp, _ = fetch(t, http.MethodOptions, url+"/nowhere", "Origin", app, asks, "POST")
	if resp.StatusCode != http.StatusNotFound || preflights.Load() != 3 {
		t.Errorf("preflight of an unknown path: %s; %d preflights reached the middleware, want 3", resp.Status, preflights.Load())
	}
	for path, status := range map[string]int{"/v1/auth": http.StatusTeapot, "/nowhere": http.StatusNotFound, "/v1//auth": http.StatusNotFound} {
		resp, _ := fetch(t, http.MethodPost, url+path, "Origin", app)
		if resp.StatusCode != status || resp.Header.Get("Access-Control-Allow-Origin") != app || resp.Header.Get("Access-Control-Expose-Headers") == "" {
			t.Errorf("%s: %s %v", path, resp.Status, resp.Header)
		}
	}
}

// Whatever is configured and sent: never "*" with credentials, and no origin but a
// configured one comes back.
func FuzzCORS(f *testing.F) {
	f.Add(app, app, "content-type", true)
	f.Add("*", "null", "*", false)
	f.Add("http://[::1]:80", "http://[::1]", "a,,b", true)
	f.Fuzz(func(t *testing.T, configured, origin, headers string, credentials bool) {
		s, err := New(Config{CORS: CORS{Origins: []string{configured}, Credentials: credentials}, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			return
		}
		w := httptest.NewRecorder()
		s.setCORS(w, &http.Request{Method: http.MethodOptions, Header: http.Header{
			"Origin": {origin}, "Access-Control-Request-Method": {"PUT"}, "Access-Control-Request-Headers": {headers},
		}})
		got := w.Header().Get("Access-Control-Allow-Origin")
		if got == "*" && (credentials || configured != "*") || got != "" && got != "*" && (got != origin || !strings.EqualFold(got, configured)) {
			t.Errorf("origins %q, credentials %v: origin %q gets %q", configured, credentials, origin, got)
		}
	})
}
