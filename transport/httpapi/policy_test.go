package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/middleware"
)

// endpoints makes the service that a test serves beside the usual one.
func endpoints(list ...*chassi.Endpoint) *chassi.Service {
	return chassi.NewService("other.v1.Other", list...)
}

func mustMount(t *testing.T, s *Server, list ...*chassi.Endpoint) {
	t.Helper()
	if err := s.Mount(endpoints(list...)); err != nil {
		t.Fatal(err)
	}
}

// letIn gives every call a principal.
func letIn(_ *chassi.Binding, next chassi.Handler) chassi.Handler {
	return func(ctx context.Context, call *chassi.Call) error {
		call.Principal = &chassi.Principal{Subject: "somebody"}
		return next(ctx, call)
	}
}

// A shared cache keeps only public responses, and stores nothing that no endpoint allows, be there
// a body or not.
func TestCacheControl(t *testing.T) {
	t.Parallel()
	full := func(context.Context, *struct{}) (*echoResponse, error) { return &echoResponse{Text: "x"}, nil }
	empty := func(context.Context, *struct{}) (*struct{}, error) { return &struct{}{}, nil }
	cases := map[string]struct {
		endpoint *chassi.Endpoint
		status   int
		want     string
	}{
		"/public":        {chassi.NewEndpoint("A", full, chassi.Route("GET /public"), chassi.Public), 200, "no-store"},
		"/public/kept":   {chassi.NewEndpoint("B", full, chassi.Route("GET /public/kept"), chassi.Public, chassi.CacheFor(time.Minute)), 200, "public, max-age=60"},
		"/own":           {chassi.NewEndpoint("C", full, chassi.Route("GET /own")), 200, "no-store"},
		"/own/kept":      {chassi.NewEndpoint("D", full, chassi.Route("GET /own/kept"), chassi.CacheFor(time.Minute)), 200, "private, max-age=60"},
		"/empty":         {chassi.NewEndpoint("E", empty, chassi.Route("GET /empty"), chassi.Public), 204, "no-store"},
		"/empty/kept":    {chassi.NewEndpoint("F", empty, chassi.Route("GET /empty/kept"), chassi.Public, chassi.CacheFor(time.Minute)), 204, "public, max-age=60"},
		"/required/kept": {chassi.NewEndpoint("G", full, chassi.Route("GET /required/kept"), chassi.Requires("read"), chassi.CacheFor(time.Minute)), 403, "no-store"},
	}
	url := serveTest(t, Config{}, func(s *Server) {
		var list []*chassi.Endpoint
		for _, c := range cases {
			list = append(list, c.endpoint)
		}
		mustMount(t, s, list...)
	}, letIn)
	for path, c := range cases {
		response, body := ask(t, "GET", url+path, "")
		if response.StatusCode != c.status || response.Header.Get("Cache-Control") != c.want {
			t.Errorf("%s: %d, Cache-Control %q, want %d, %q", path, response.StatusCode, response.Header.Get("Cache-Control"), c.status, c.want)
		}
		if c.status == http.StatusNoContent && (body != "" || response.Header.Get("Content-Type") != "") {
			t.Errorf("%s: a body of %q, %q", path, response.Header.Get("Content-Type"), body)
		}
	}
}

type patchRequest struct {
	ID   string `path:"id"`
	Text string `json:"text"`
}

// An absent body is an empty object, and the names of the one encoding are all taken.
func TestBodyAndMediaType(t *testing.T) {
	t.Parallel()
	url := serveTest(t, Config{}, func(s *Server) {
		mustMount(t, s, chassi.NewEndpoint("Patch", func(_ context.Context, r *patchRequest) (*echoResponse, error) {
			return &echoResponse{Text: r.ID + r.Text}, nil
		}, chassi.Route("POST /patch/{id}"), chassi.Public))
	})
	const body = `{"text":"x"}`
	for name, c := range map[string]struct {
		body   io.Reader
		media  string
		status int
		want   string
	}{
		"none":                    {nil, "", 200, `"text":"a"`},
		"none, JSON":              {nil, "application/json", 200, `"text":"a"`},
		"none, a form":            {nil, "application/x-www-form-urlencoded", 200, `"text":"a"`},
		"none, of unknown length": {struct{ io.Reader }{strings.NewReader("")}, "application/json", 200, `"text":"a"`},
		"some":                    {strings.NewReader(body), "application/json", 200, `"text":"ax"`},
		"utf-8":                   {strings.NewReader(body), "application/json; charset=UTF-8", 200, `"text":"ax"`},
		"utf8":                    {strings.NewReader(body), "application/json;charset=utf8", 200, `"text":"ax"`},
		"quoted":                  {strings.NewReader(body), `Application/JSON; charset="utf-8"`, 200, `"text":"ax"`},
		"latin1":                  {strings.NewReader(body), "application/json; charset=latin1", 415, "unsupported_media_type"},
		"no charset":              {strings.NewReader(body), "application/json; charset=", 415, "unsupported_media_type"},
		"no type":                 {strings.NewReader(body), "", 415, "unsupported_media_type"},
		"another type":            {strings.NewReader(body), "application/jsonp", 415, "unsupported_media_type"},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/patch/a", c.body)
		if err != nil {
			t.Fatal(err)
		}
		r.Close = true
		if c.media != "" {
			r.Header.Set("Content-Type", c.media)
		}
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if response.StatusCode != c.status || !strings.Contains(string(text), c.want) {
			t.Errorf("%s: %d %s", name, response.StatusCode, text)
		}
	}
}

// Query parameters that no field has are an error, unless the endpoint ignores them.
func TestUnknownQueryParameters(t *testing.T) {
	t.Parallel()
	method := func(_ context.Context, r *thingRequest) (*echoResponse, error) {
		return &echoResponse{Text: fmt.Sprint(r.ID, r.Tags)}, nil
	}
	url := serveTest(t, Config{}, func(s *Server) {
		mustMount(t, s, chassi.NewEndpoint("Strict", method, chassi.Route("GET /strict/{id}"), chassi.Public),
			chassi.NewEndpoint("Lenient", method, chassi.Route("GET /lenient/{id}"), chassi.Public, chassi.IgnoreUnknownQuery))
	})
	for path, c := range map[string]struct {
		status int
		want   string
	}{
		"/strict/a?tag=x&utm_source=mail":  {400, `"field":"utm_source"`},
		"/lenient/a?tag=x&utm_source=mail": {200, `"text":"a[x]"`},
		"/lenient/a?limit=many&utm_x":      {400, `"field":"limit"`},
		"/lenient/a?utm_source=%zz":        {400, "not well-formed"},
	} {
		if response, body := ask(t, "GET", url+path, ""); response.StatusCode != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s: %d %s", path, response.StatusCode, body)
		}
	}
}

// A mounted handler has the bounds of endpoints, and can answer as they do.
func TestBoundsOfMountedHandlers(t *testing.T) {
	t.Parallel()
	seen := make(chan error, 10)
	watch := func(_ *chassi.Binding, next chassi.Handler) chassi.Handler {
		return func(ctx context.Context, call *chassi.Call) error {
			err := next(ctx, call)
			seen <- err
			return err
		}
	}
	read := func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			WriteError(w, r, err)
			return
		}
		fmt.Fprint(w, len(body))
	}
	url := serveTest(t, Config{MaxBodyBytes: 10}, func(s *Server) {
		for pattern, options := range map[string][]chassi.EndpointOption{
			"POST /default": {chassi.Public}, "POST /larger": {chassi.Public, chassi.MaxBody(20)},
		} {
			if err := s.Handle(pattern, http.HandlerFunc(read), options...); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Handle("POST /unread", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), chassi.Public); err != nil {
			t.Fatal(err)
		}
		if err := s.Handle("POST /refused", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			WriteError(w, r, errThing.WithCause(errors.New("canary")).WithRetryAfter(time.Second))
		}), chassi.Public); err != nil {
			t.Fatal(err)
		}
		mustMount(t, s, chassi.NewEndpoint("Small", func(_ context.Context, r *echoRequest) (*echoResponse, error) {
			return &echoResponse{Text: r.Text}, nil
		}, chassi.Route("POST /small"), chassi.Public, chassi.MaxBody(30)))
	}, watch)
	unknown := func(s string) io.Reader { return struct{ io.Reader }{strings.NewReader(s)} }
	for name, c := range map[string]struct {
		path   string
		body   io.Reader
		status int
		want   string
		code   chassi.Code // that the middleware sees, 0 for success
	}{
		"fits":                     {"/default", strings.NewReader("0123456789"), 200, "10", 0},
		"too long":                 {"/default", strings.NewReader("0123456789a"), 413, "larger than 10 bytes", chassi.ResourceExhausted},
		"too long, unknown length": {"/default", unknown("0123456789a"), 413, "larger than 10 bytes", chassi.ResourceExhausted},
		"too long, not read":       {"/unread", strings.NewReader("0123456789a"), 413, "larger than 10 bytes", chassi.ResourceExhausted},
		"fits its own bound":       {"/larger", unknown("0123456789a"), 200, "11", 0},
		"beyond its own bound":     {"/larger", unknown(strings.Repeat("x", 21)), 413, "larger than 20 bytes", chassi.ResourceExhausted},
		"an error":                 {"/refused", nil, 404, `"error":"no_thing"`, chassi.NotFound},
		"an endpoint's own bound":  {"/small", strings.NewReader(`{"text":"` + strings.Repeat("x", 15) + `"}`), 200, "xxx", 0},
		"beyond an endpoint's":     {"/small", strings.NewReader(`{"text":"` + strings.Repeat("x", 25) + `"}`), 413, "larger than 30 bytes", chassi.ResourceExhausted},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+c.path, c.body)
		if err != nil {
			t.Fatal(err)
		}
		r.Close = true
		r.Header.Set("Content-Type", "application/json")
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if response.StatusCode != c.status || !strings.Contains(string(text), c.want) || strings.Contains(string(text), "canary") {
			t.Errorf("%s: %d %s", name, response.StatusCode, text)
		}
		if err := <-seen; (err == nil) != (c.code == 0) || err != nil && chassi.ErrorOf(err).Code != c.code {
			t.Errorf("%s: the middleware saw %v", name, err)
		}
	}
	w := httptest.NewRecorder()
	WriteError(w, httptest.NewRequest(http.MethodGet, "/", nil), errThing)
	if w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "no_thing") {
		t.Errorf("outside of a server: %d %s", w.Code, w.Body)
	}
}

// A call whose endpoint has more time than the connection outlives the connection's
// timeouts, whether it reads or writes.
func TestDeadlinesLongerThanTheServers(t *testing.T) {
	t.Parallel()
	const short = 50 * time.Millisecond
	wait := func(ctx context.Context) {
		timer := time.NewTimer(4 * short)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	url := serveTest(t, Config{ReadTimeout: short, WriteTimeout: short}, func(s *Server) {
		if err := s.Handle("POST /upload", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			fmt.Fprint(w, len(body), err)
		}), chassi.Public, chassi.Timeout(time.Minute)); err != nil {
			t.Fatal(err)
		}
		mustMount(t, s, chassi.NewEndpoint("Slow", func(ctx context.Context, _ *struct{}) (*echoResponse, error) {
			wait(ctx)
			return &echoResponse{Text: "done"}, nil
		}, chassi.Route("GET /slow"), chassi.Public, chassi.Timeout(time.Minute)))
	}, middleware.Timeout(time.Second))
	if response, body := ask(t, "GET", url+"/slow", ""); response.StatusCode != http.StatusOK || !strings.Contains(body, "done") {
		t.Errorf("slow: %d %s", response.StatusCode, body)
	}
	reader, writer := io.Pipe()
	go func() {
		_, _ = io.WriteString(writer, "a")
		wait(t.Context())
		_, _ = io.WriteString(writer, "b")
		writer.Close()
	}()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/upload", reader)
	if err != nil {
		t.Fatal(err)
	}
	r.Close = true
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if text, err := io.ReadAll(response.Body); string(text) != "2 <nil>" {
		t.Errorf("upload: %s, %v", text, err)
	}
}

// Two routes that match the same requests are an error that names both endpoints.
func TestRouteConflicts(t *testing.T) {
	t.Parallel()
	method := func(context.Context, *struct{}) (*echoResponse, error) { return &echoResponse{}, nil }
	byID := func(context.Context, *struct {
		ID string `path:"id"`
	}) (*echoResponse, error) {
		return &echoResponse{}, nil
	}
	for name, c := range map[string]struct{ first, second *chassi.Endpoint }{
		"the same":              {chassi.NewEndpoint("First", method, chassi.Route("GET /a")), chassi.NewEndpoint("Second", method, chassi.Route("GET /a"))},
		"neither more specific": {chassi.NewEndpoint("First", byID, chassi.Route("GET /a/{id}")), chassi.NewEndpoint("Second", byID, chassi.Route("GET /{id}/b"))},
	} {
		s, err := New(Config{})
		if err != nil {
			t.Fatal(err)
		}
		err = errors.Join(s.Mount(chassi.NewService("a.v1.A", c.first)), s.Mount(chassi.NewService("b.v1.B", c.second)))
		if err == nil || !strings.Contains(err.Error(), "a.v1.A/First") || !strings.Contains(err.Error(), "b.v1.B/Second") || strings.Contains(err.Error(), ".go:") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
