package httpapi

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chassi-go/chassi"
)

type nothing struct{}

// The routes that bypass the mux must not hide a pattern that names the host,
// whichever was mounted first.
func TestAHostPatternComesBeforeAnEndpoint(t *testing.T) {
	t.Parallel()
	mountEndpoint := func(s *Server) error {
		return s.Mount(chassi.NewService("test.Hosts", chassi.NewEndpoint("Get",
			func(context.Context, *nothing) (*nothing, error) { return &nothing{}, nil },
			chassi.Route("GET /thing"), chassi.Public)))
	}
	mountHost := func(s *Server) error {
		return s.Handle("GET special.example/thing", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusTeapot)
		}), chassi.Public)
	}
	for name, order := range map[string][]func(*Server) error{
		"endpoint first": {mountEndpoint, mountHost},
		"host first":     {mountHost, mountEndpoint},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := New(Config{})
			if err != nil {
				t.Fatal(err)
			}
			for _, mount := range order {
				if err := mount(s); err != nil {
					t.Fatal(err)
				}
			}
			for host, want := range map[string]int{"special.example": http.StatusTeapot, "other.example": http.StatusNoContent} {
				w := httptest.NewRecorder()
				s.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://"+host+"/thing", strings.NewReader("")))
				if w.Code != want {
					t.Errorf("%s: %d, want %d", host, w.Code, want)
				}
			}
		})
	}
}

// A route that no request would reach is refused, for endpoints and handlers.
func TestUnreachablePaths(t *testing.T) {
	t.Parallel()
	handler := http.NotFoundHandler()
	for path, ok := range map[string]bool{
		"/a;b": false, "/a//b": false, "/a/./b": false, "/..": false, `/a\b`: false, "/%zz": false, "/%2e%2e/a": false,
		"/": true, "/a/": true, "/a/{rest...}": true, "/a/{$}": true, "/é": true, "/a%20b": true, "/a.b": true,
	} {
		s, err := New(Config{})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Handle("GET example.com"+path, handler, chassi.Public); (err == nil) != ok {
			t.Errorf("a handler of %s: %v", path, err)
		}
		if strings.Contains(path, "{") {
			continue // needs fields
		}
		err = s.Mount(chassi.NewService("test.Paths", chassi.NewEndpoint("Get",
			func(context.Context, *nothing) (*nothing, error) { return &nothing{}, nil }, chassi.Route("GET "+path), chassi.Public)))
		if (err == nil) != ok {
			t.Errorf("an endpoint of %s: %v", path, err)
		}
	}
	s, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Handle("GET /a", nil, chassi.Public); err == nil || !strings.Contains(err.Error(), "no handler") {
		t.Errorf("no handler: %v", err)
	}
}

// Routes whose pattern has an escape match what the mux matches: the character that it stands for.
func TestEscapeInAPattern(t *testing.T) {
	t.Parallel()
	s, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	err = s.Mount(chassi.NewService("test.Escapes", chassi.NewEndpoint("Get",
		func(context.Context, *nothing) (*nothing, error) { return &nothing{}, nil }, chassi.Route("GET /a%20b"), chassi.Public)))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{"/a%20b": http.StatusNoContent, "/a%2520b": http.StatusNotFound, "/%61%20b": http.StatusNoContent} {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, strings.NewReader("")))
		if w.Code != want {
			t.Errorf("%s: %d, want %d", path, w.Code, want)
		}
	}
}
