package main

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/chassi-go/chassi/internal/contracttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The program as it runs, on a free port.
func TestGreeter(t *testing.T) {
	t.Parallel()
	app, server, err := newApp("127.0.0.1:0", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { result <- app.Run(ctx) }()
	select {
	case <-app.Started():
	case err := <-result:
		t.Fatalf("the app did not start: %v", err)
	}
	base := "http://" + server.Addr().String()

	cases := map[string]struct {
		method, path, body string
		status             int
		want               string
	}{
		"hello":          {"GET", "/v1/hello/Ada", "", 200, `{"text":"Hello, Ada!"}`},
		"greet":          {"POST", "/v1/greet", `{"names":["Ada","Grace"]}`, 200, `{"text":"Hello, Ada, Grace!"}`},
		"nobody":         {"POST", "/v1/greet", `{"names":[]}`, 400, `"error":"nobody_to_greet"`},
		"unknown member": {"POST", "/v1/greet", `{"name":"Ada"}`, 400, `name`},
		"unknown path":   {"GET", "/v1/bye", "", 404, `"status":404`},
		"other method":   {"GET", "/v1/greet", "", 405, `"status":405`},
	}
	for name, c := range cases {
		if status, body := send(t, c.method, base+c.path, c.body); status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s: %d %s, want %d with %s", name, status, body, c.status, c.want)
		}
	}
	stop()
	if err := <-result; err != nil {
		t.Errorf("Run = %v", err)
	}
}

// send makes one request on a connection of its own.
func send(t *testing.T, method, url, body string) (status int, text string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Close = true
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestContracts(t *testing.T) {
	t.Parallel()
	contracttest.Write(t, "greeter", Greeter{word: "Hello"}.Endpoints())
}
