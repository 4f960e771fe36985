package httpapi_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/middleware"
	"github.com/chassi-go/chassi/transport/httpapi"
)

// private is a server with a handler and an endpoint, for the named hosts.
func private(tb testing.TB, hosts []string) *httpapi.Server {
	tb.Helper()
	s, err := httpapi.New(httpapi.Config{Name: "admin", Hosts: hosts}, middleware.Recover())
	if err != nil {
		tb.Fatal(err)
	}
	err = s.Handle("GET /metrics", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("served")) }), chassi.Public)
	if err == nil {
		err = s.Mount(chassi.NewService("x.v1.X", chassi.NewEndpoint("Do", func(context.Context, *struct{}) (*struct{}, error) {
			return &struct{}{}, nil
		}, chassi.Route("POST /do"), chassi.Public)))
	}
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func ask(s http.Handler, method, path, host string, header map[string]string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://placeholder"+path, strings.NewReader("{}"))
	r.Host = host
	r.Header.Set("Content-Type", "application/json")
	for name, value := range header {
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// R76: a private listener answers to its names and to addresses, on any port, and to no
// name that a web page could choose.
func TestPrivateListenerRefusesOtherHosts(t *testing.T) {
	t.Parallel()
	s := private(t, []string{"Metrics.internal", "authd-admin"})
	for host, want := range map[string]int{
		"localhost": 200, "LOCALHOST:8081": 200, "localhost.:8081": 200, "127.0.0.1:8081": 200, "127.0.0.1": 200, "[::1]:8081": 200, "[::1]": 200,
		"10.1.2.3:8081": 200, "[fe80::1%25eth0]:1": 200, "[fe80::1%eth0]:1": 200, "metrics.internal": 200, "METRICS.internal.:1": 200, "authd-admin:8081": 200, "": 200,
		"evil.example": 421, "evil.example:8081": 421, "127.0.0.1.evil.example": 421, "localhost.evil.example": 421, "localhost..": 421,
		"evil.localhost": 421, "metrics.internal.evil.example": 421, "127.1": 421, "0x7f000001": 421, "2130706433": 421, "127.0.0.1:80:80": 421, "[evil.example]": 421,
	} {
		if w := ask(s, http.MethodGet, "/metrics", host, nil); w.Code != want || (w.Body.String() == "served") != (want == 200) {
			t.Errorf("Host %q: %d %s, want %d", host, w.Code, w.Body, want)
		}
	}
	for _, path := range []string{"/do", "/nowhere", "/metrics", "//"} {
		if w := ask(s, http.MethodPost, path, "evil.example", nil); w.Code != http.StatusMisdirectedRequest || !strings.Contains(w.Body.String(), `"host_not_allowed"`) {
			t.Errorf("POST %s: %d %s", path, w.Code, w.Body)
		}
	}
}

// A page of another origin is refused, be it by what the browser says of the site or by
// the origin.
func TestPrivateListenerRefusesOtherOrigins(t *testing.T) {
	t.Parallel()
	s := private(t, []string{})
	for _, c := range []struct {
		site, origin string
		want         int
	}{
		{"", "", 200},
		{"none", "", 200},
		{"same-origin", "", 200},
		{"same-origin", "http://localhost:8081", 200},
		{"same-site", "", 403}, // another port of localhost
		{"cross-site", "", 403},
		{"Cross-Site", "", 403},
		{"", "http://localhost:8081", 200},
		{"", "http://localhost:8080", 403},
		{"", "https://evil.example", 403},
		{"", "null", 403},
		{"", "http://%zz", 403},
	} {
		header := map[string]string{}
		if c.site != "" {
			header["Sec-Fetch-Site"] = c.site
		}
		if c.origin != "" {
			header["Origin"] = c.origin
		}
		for method, path := range map[string]string{http.MethodGet: "/metrics", http.MethodPost: "/do", http.MethodOptions: "/do"} {
			w := ask(s, method, path, "localhost:8081", header)
			if (w.Code == 403) != (c.want == 403) || w.Code == 403 && !strings.Contains(w.Body.String(), `"cross_site"`) {
				t.Errorf("%s, site %q, origin %q: %d, want %d", method, c.site, c.origin, w.Code, c.want)
			}
		}
	}
}

// A listener that is not private is for anybody, as before.
func TestPublicListenerAcceptsAnyHost(t *testing.T) {
	t.Parallel()
	s := private(t, nil)
	if w := ask(s, http.MethodGet, "/metrics", "any.example", map[string]string{"Sec-Fetch-Site": "cross-site"}); w.Code != 200 {
		t.Errorf("%d", w.Code)
	}
}

func TestHostsAreNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "a:1", "http://a", "a/b", "*.a", "a..b", "a b", strings.Repeat("a", 254)} {
		if _, err := httpapi.New(httpapi.Config{Hosts: []string{name}}); err == nil || !strings.Contains(err.Error(), "hosts") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// Whatever a Host header looks like, it is served only as an address or a name that was
// allowed.
func FuzzHost(f *testing.F) {
	for _, seed := range []string{"localhost", "[::1]:1", "evil.example", "127.0.0.1:x", "[", "a]:1", "1.2.3.4.", "localhost:1@evil.example", "\x00", "[::1"} {
		f.Add(seed)
	}
	s := private(f, []string{"metrics.internal"})
	f.Fuzz(func(t *testing.T, host string) {
		if ask(s, http.MethodGet, "/metrics", host, nil).Code != 200 || host == "" {
			return
		}
		name := strings.ToLower(host)
		for _, prefix := range []string{"localhost", "metrics.internal"} {
			if rest, ok := strings.CutPrefix(name, prefix); ok && (rest == "" || rest[0] == '.' || rest[0] == ':') {
				return
			}
		}
		inner, _, _ := strings.Cut(strings.TrimPrefix(host, "["), "]")
		first, _, _ := strings.Cut(host, ":")
		for _, candidate := range []string{host, inner, first} {
			if _, err := netip.ParseAddr(candidate); err == nil {
				return
			}
		}
		t.Errorf("%q was served", host)
	})
}
