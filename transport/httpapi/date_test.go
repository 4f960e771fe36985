package httpapi

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
)

// The responses of one second share a date, and the next second has its own.
func TestDateHeader(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 6, 8, 49, 37, 999_999_999, time.FixedZone("", 3600))
	first := dateHeader(at)
	if len(first) != 1 || cap(first) != 1 || first[0] != "Fri, 06 Nov 2026 07:49:37 GMT" {
		t.Errorf("got %q", first)
	}
	if next := dateHeader(at.Add(1)); next[0] != "Fri, 06 Nov 2026 07:49:38 GMT" {
		t.Errorf("a nanosecond later: %q", next)
	}
	if again := dateHeader(at); again[0] != first[0] {
		t.Errorf("the clock was set back: %q", again)
	}
}

// HTTP middleware and methods may set the date, or leave it out, and may read the body to its end
// after the handler.
func TestDateAndBodyOfMiddleware(t *testing.T) {
	t.Parallel()
	s := newTestServer(t)
	err := s.Mount(chassi.NewService("test.Dates", chassi.NewEndpoint("Set", func(ctx context.Context, r *struct{ At string }) (*nothing, error) {
		if r.At != "" {
			chassi.CallFrom(ctx).Out.Set("Date", r.At)
		}
		return &nothing{}, nil
	}, chassi.Route("POST /set"), chassi.Public)))
	if err != nil {
		t.Fatal(err)
	}
	rest := make(chan error, 1)
	s.Use(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("X-Date") == "none" {
				w.Header()["Date"] = nil
			}
			next.ServeHTTP(w, r)
			_, err := io.Copy(io.Discard, r.Body)
			rest <- err
		})
	})
	url := startServer(t, s) + "/set"
	const old = "Fri, 06 Nov 2020 08:49:37 GMT"
	for date, want := range map[string]string{"set": old, "none": ""} {
		body := `{"At":"` + want + `"}`
		if r, _ := ask(t, http.MethodPost, url, body, "X-Date", date); r.StatusCode != http.StatusNoContent || r.Header.Get("Date") != want {
			t.Errorf("%s: %d, date %q", date, r.StatusCode, r.Header["Date"])
		}
		if err := <-rest; err != nil {
			t.Errorf("the rest of the body: %v", err)
		}
	}
}

// Each response has one date: that of a mounted handler if it sets one, as a proxy does.
func TestOneDate(t *testing.T) {
	t.Parallel()
	const old = "Fri, 06 Nov 2020 08:49:37 GMT"
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Date", old) }))
	t.Cleanup(backend.Close)
	target, err := url.Parse(backend.URL)
	if err != nil {
		t.Fatal(err)
	}
	s := newTestServer(t)
	err = s.Mount(chassi.NewService("test.Dates", chassi.NewEndpoint("Get",
		func(context.Context, *nothing) (*struct{ A int }, error) { return new(struct{ A int }), nil }, chassi.Route("GET /ok"), chassi.Public)))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Handle("GET /proxy", httputil.NewSingleHostReverseProxy(target), chassi.Public); err != nil {
		t.Fatal(err)
	}
	front := startServer(t, s)
	for _, path := range []string{"/ok", "/missing", "/proxy"} {
		began := time.Now().Truncate(time.Second)
		r, _ := ask(t, http.MethodGet, front+path, "")
		dates := r.Header["Date"]
		if len(dates) != 1 {
			t.Errorf("%s: dates %q", path, dates)
			continue
		}
		if path == "/proxy" {
			if dates[0] != old {
				t.Errorf("%s: date %q", path, dates[0])
			}
			continue
		}
		if d, err := http.ParseTime(dates[0]); err != nil || d.Before(began) || d.After(time.Now()) {
			t.Errorf("%s: date %q, %v", path, dates[0], err)
		}
	}
}
