package httpapi_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/transport"
	"github.com/chassi-go/chassi/transport/httpapi"
)

// Whatever a server returns, the client returns one error with a code, in bounded time, and
// goes nowhere else.
func TestClientOfHostileServers(t *testing.T) {
	t.Parallel()
	response := func(status int, header, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for line := range strings.SplitSeq(header, "|") {
				name, value, _ := strings.Cut(line, ": ")
				w.Header().Set(name, value)
			}
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
	const problem, plain = "Content-Type: application/problem+json", "Content-Type: application/json"
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		want    chassi.Code
		delay   time.Duration
	}{
		"HTML":              {response(200, "Content-Type: text/html", "<html>"), chassi.Internal, 0},
		"deep":              {response(200, plain, strings.Repeat("[", 1<<20)), chassi.Internal, 0},
		"redirect":          {response(302, "Location: /v1/t", ""), chassi.Unknown, 0},
		"odd status":        {response(799, plain, ""), chassi.Unknown, 0},
		"lowest 4xx":        {response(400, plain, ""), chassi.InvalidArgument, 0},
		"highest 4xx":       {response(499, plain, ""), chassi.InvalidArgument, 0},
		"beyond 4xx":        {response(500, plain, ""), chassi.Unknown, 0},
		"malformed problem": {response(404, problem, "{"), chassi.NotFound, 0},
		"array as problem":  {response(503, problem, "[]"), chassi.Unavailable, 0},
		"unknown code":      {response(409, problem, `{"code":"nonsense","error":"x"}`), chassi.Aborted, 0},
		"absurd delay":      {response(503, problem+"|Retry-After: 99999999999999999999", "{}"), chassi.Unavailable, 24 * time.Hour},
		"absurd date":       {response(503, problem+"|Retry-After: Fri, 31 Dec 9999 23:59:59 GMT", "{}"), chassi.Unavailable, 24 * time.Hour},
		"malformed delay":   {response(503, problem+"|Retry-After: soon", "{}"), chassi.Unavailable, 0},
		"large header":      {response(200, "X-Large: "+strings.Repeat("x", 1<<20), "{}"), chassi.Unavailable, 0},
		"endless body": {func(w http.ResponseWriter, r *http.Request) {
			for piece := make([]byte, 64<<10); r.Context().Err() == nil; {
				if _, err := w.Write(piece); err != nil {
					return
				}
			}
		}, chassi.ResourceExhausted, 0},
		"no response": {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, chassi.DeadlineExceeded, 0},
		"other protocol": {func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			_, _ = conn.Write([]byte("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"))
			_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second)) // for a client that waits for more
			_, _ = conn.Read(make([]byte, 1))
		}, chassi.Unknown, 0},
		"hangs up": {func(w http.ResponseWriter, _ *http.Request) {
			if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
				_ = conn.Close()
			}
		}, chassi.Unavailable, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(c.handler)
			defer server.Close()
			client, err := httpapi.NewClient(httpapi.ClientConfig{URL: server.URL, Timeout: time.Second})
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			type reply struct {
				Text string `json:"text"`
			}
			e := chassi.NewEndpoint("M", func(context.Context, *struct{}) (*reply, error) { return nil, nil }, chassi.Route("GET /v1/t"), chassi.Public)
			chassi.NewService("t.v1.T", e)
			_, call, err := client.Bind(e)
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			err = call(t.Context(), &chassi.Call{Request: &struct{}{}, Response: new(reply), In: &transport.Pairs{}, Out: &transport.Pairs{}})
			if got := chassi.ErrorOf(err); err == nil || got.Code != c.want || got.RetryAfter.Round(time.Minute) != c.delay || len(got.Message) > 1<<10 {
				t.Errorf("%v (%v after %v), want %v after %v", err, got.Code, got.RetryAfter, c.want, c.delay)
			}
			if took := time.Since(began); took > 4*time.Second {
				t.Errorf("the call took %v, want at most its timeout", took)
			}
		})
	}
}
