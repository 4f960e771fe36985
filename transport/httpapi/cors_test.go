package httpapi

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/google/go-cmp/cmp"
)

func mustCORS(t *testing.T, c CORS) *corsPolicy {
	t.Helper()
	p, err := newCORS(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

const app = "https://app.example.com"

func TestCORSHandle(t *testing.T) {
	t.Parallel()
	const (
		origin   = "Access-Control-Allow-Origin"
		creds    = "Access-Control-Allow-Credentials"
		methods  = "Access-Control-Allow-Methods"
		headers  = "Access-Control-Allow-Headers"
		expose   = "Access-Control-Expose-Headers"
		maxAge   = "Access-Control-Max-Age"
		exposed  = "Idempotency-Replayed, X-Request-ID, RateLimit, RateLimit-Policy, Retry-After"
		settable = "Authorization, Content-Type, Idempotency-Key, X-Request-ID"
		preVary  = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"
	)
	one := CORS{Origins: []string{app}, MaxAge: 10 * time.Minute}
	withCreds := CORS{Origins: []string{"HTTPS://App.Example.com", "http://localhost:3000", "http://[::1]:3000"}, Credentials: true}
	anyone := CORS{Origins: []string{"*"}}
	preflight := func(origin, headers string) http.Header {
		h := http.Header{"Origin": {origin}, "Access-Control-Request-Method": {"POST"}, "Access-Control-Request-Private-Network": {"true"}}
		if headers != "" {
			h["Access-Control-Request-Headers"] = strings.Split(headers, "|")
		}
		return h
	}
	cases := map[string]struct {
		cors      CORS
		method    string
		sent      http.Header
		preflight bool
		want      http.Header
	}{
		"known":                  {one, "GET", http.Header{"Origin": {app}}, false, http.Header{"Vary": {"Origin"}, origin: {app}, expose: {exposed}}},
		"foreign":                {one, "GET", http.Header{"Origin": {"https://evil.example"}}, false, http.Header{"Vary": {"Origin"}}},
		"none":                   {one, "GET", nil, false, http.Header{"Vary": {"Origin"}}},
		"null":                   {one, "GET", http.Header{"Origin": {"null"}}, false, http.Header{"Vary": {"Origin"}}},
		"prefix":                 {one, "GET", http.Header{"Origin": {app + ".evil.example"}}, false, http.Header{"Vary": {"Origin"}}},
		"other scheme":           {one, "GET", http.Header{"Origin": {"http://app.example.com"}}, false, http.Header{"Vary": {"Origin"}}},
		"other port":             {one, "GET", http.Header{"Origin": {app + ":8443"}}, false, http.Header{"Vary": {"Origin"}}},
		"two origins":            {one, "GET", http.Header{"Origin": {app, app}}, false, http.Header{"Vary": {"Origin"}}},
		"credentials":            {withCreds, "POST", http.Header{"Origin": {app}}, false, http.Header{"Vary": {"Origin"}, origin: {app}, creds: {"true"}, expose: {exposed}}},
		"with port":              {withCreds, "POST", http.Header{"Origin": {"http://localhost:3000"}}, false, http.Header{"Vary": {"Origin"}, origin: {"http://localhost:3000"}, creds: {"true"}, expose: {exposed}}},
		"IPv6":                   {withCreds, "POST", http.Header{"Origin": {"http://[::1]:3000"}}, false, http.Header{"Vary": {"Origin"}, origin: {"http://[::1]:3000"}, creds: {"true"}, expose: {exposed}}},
		"any":                    {anyone, "GET", http.Header{"Origin": {app}}, false, http.Header{origin: {"*"}, expose: {exposed}}},
		"any, none":              {anyone, "GET", nil, false, http.Header{origin: {"*"}, expose: {exposed}}},
		"any, null":              {anyone, "GET", http.Header{"Origin": {"null"}}, false, http.Header{origin: {"*"}, expose: {exposed}}},
		"preflight":              {one, "OPTIONS", preflight(app, ""), true, http.Header{"Vary": {preVary}, origin: {app}, methods: {"GET, POST"}, headers: {settable}, maxAge: {"600"}}},
		"preflight, headers":     {one, "OPTIONS", preflight(app, "content-type,AUTHORIZATION|x-request-id"), true, http.Header{"Vary": {preVary}, origin: {app}, methods: {"GET, POST"}, headers: {settable}, maxAge: {"600"}}},
		"preflight, bad header":  {one, "OPTIONS", preflight(app, "content-type|x-evil"), true, http.Header{"Vary": {preVary}, origin: {app}, methods: {"GET, POST"}, maxAge: {"600"}}},
		"preflight, foreign":     {one, "OPTIONS", preflight("https://evil.example", ""), true, http.Header{"Vary": {preVary}}},
		"preflight, credentials": {withCreds, "OPTIONS", preflight(app, ""), true, http.Header{"Vary": {preVary}, origin: {app}, creds: {"true"}, methods: {"GET, POST"}, headers: {settable}}},
		"preflight, any":         {anyone, "OPTIONS", preflight(app, ""), true, http.Header{"Vary": {preVary}, origin: {"*"}, methods: {"GET, POST"}, headers: {settable}}},
		"preflight, own methods": {CORS{Origins: []string{app}, Methods: []string{"GET"}, Headers: []string{}, Expose: []string{}}, "OPTIONS", preflight(app, ""), true, http.Header{"Vary": {preVary}, origin: {app}, methods: {"GET"}}},
		"OPTIONS":                {one, "OPTIONS", nil, false, http.Header{"Vary": {preVary}}},
		"OPTIONS of a page":      {one, "OPTIONS", http.Header{"Origin": {app}}, false, http.Header{"Vary": {preVary}, origin: {app}, expose: {exposed}}},
		"preflight of nobody":    {one, "OPTIONS", http.Header{"Access-Control-Request-Method": {"POST"}}, false, http.Header{"Vary": {preVary}}},
		"request method on POST": {one, "POST", preflight(app, ""), false, http.Header{"Vary": {"Origin"}, origin: {app}, expose: {exposed}}},
		"no policy":              {CORS{}, "OPTIONS", preflight(app, ""), false, http.Header{}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(c.method, "/", nil)
			r.Header = c.sent
			got := make(http.Header)
			if preflight := mustCORS(t, c.cors).handle(got, r, []string{"GET", "POST"}); preflight != c.preflight {
				t.Errorf("preflight: %v, want %v", preflight, c.preflight)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("headers (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCORSKeepsVary(t *testing.T) {
	t.Parallel()
	p := mustCORS(t, CORS{Origins: []string{app}})
	h := http.Header{"Vary": {"Accept-Language"}}
	p.handle(h, httptest.NewRequest(http.MethodGet, "/", nil), nil)
	addVary(h, varyEncoding)
	if diff := cmp.Diff([]string{"Accept-Language", "Origin", "Accept-Encoding"}, h.Values("Vary")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"Origin"}, varyOrigin); diff != "" {
		t.Errorf("the shared value changed: %s", diff)
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
		"slash":                {CORS{Origins: []string{app + "/"}}, "nothing behind it"},
		"query":                {CORS{Origins: []string{app + "?"}}, "nothing behind it"},
		"fragment":             {CORS{Origins: []string{app + "#"}}, "nothing behind it"},
		"user":                 {CORS{Origins: []string{"https://me@app.example.com"}}, "nothing behind it"},
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
			if _, err := newCORS(c.cors); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("newCORS(%+v) = %v, want an error with %q", c.cors, err, c.want)
			}
		})
	}
}

func TestCORSDoesNotAllocate(t *testing.T) {
	h := make(http.Header)
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Origin", app)
	for name, p := range map[string]*corsPolicy{"off": nil, "one": mustCORS(t, CORS{Origins: []string{app}})} {
		if n := testing.AllocsPerRun(100, func() { clear(h); p.handle(h, r, nil) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// Pages get the headers on every answer of a server, errors included, and a
// preflight the methods of its path.
func TestCORSOnAServer(t *testing.T) {
	t.Parallel()
	s, err := New(Config{Addr: "127.0.0.1:0", CORS: CORS{Origins: []string{app}}, Logger: slog.New(slog.DiscardHandler)})
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
		p, err := newCORS(CORS{Origins: []string{configured}, Credentials: credentials})
		if err != nil {
			return
		}
		r := &http.Request{Method: http.MethodOptions, Header: http.Header{
			"Origin": {origin}, "Access-Control-Request-Method": {"PUT"}, "Access-Control-Request-Headers": {headers},
		}}
		h := make(http.Header)
		p.handle(h, r, []string{"PUT"})
		got := h.Get("Access-Control-Allow-Origin")
		if got == "*" && (credentials || configured != "*") || got != "" && got != "*" && (got != origin || got != strings.ToLower(configured)) {
			t.Errorf("origins %q, credentials %v: origin %q gets %q", configured, credentials, origin, got)
		}
		if strings.ContainsAny(got, "\r\n\x00 ") {
			t.Errorf("Access-Control-Allow-Origin: %q", got)
		}
	})
}
