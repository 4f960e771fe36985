package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/transport/httpapi"
)

// R76, R83: readiness tells what is known of each dependency, and no secret of a driver's error.
func TestReadinessReportsStatesWithoutSecrets(t *testing.T) {
	t.Parallel()
	app := chassi.NewApp("test", chassi.AppOptions{})
	app.AddCheck("database", func(context.Context) error {
		return errors.New("connect to postgres://u:canary@h/db: " + strings.Repeat("refused ", 1000))
	})
	app.AddCheck("disk", func(context.Context) error { return nil })
	app.AddStatus("cache", func() (status, detail string) {
		return "degraded", "unavailable: redis://:canary@h: refused"
	})
	app.AddStatus("billing", func() (status, detail string) { return "unknown", "2 instances" })
	w := httptest.NewRecorder()
	httpapi.Readiness(app).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
	body := w.Body.String()
	if w.Code != http.StatusServiceUnavailable || strings.Contains(body, "canary") || len(body) > 2000 {
		t.Errorf("%d, %d bytes: %.3000s", w.Code, len(body), body)
	}
	for _, want := range []string{
		`"database":{"status":"failing","error":"connect to postgres://***@h/db: refused refused`, `"disk":{"status":"ok","took_ms"`,
		`"cache":{"status":"degraded","detail":"unavailable: redis://***@h: refused"`, `"billing":{"status":"unknown","detail":"2 instances"`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s in %s", want, body)
		}
	}
}

// Liveness answers whatever the state of the dependencies; readiness says that one fails.
func TestHealthOfAServingApp(t *testing.T) {
	t.Parallel()
	get := func(h http.Handler) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		return w
	}
	if w := get(httpapi.Liveness()); w.Code != http.StatusOK || w.Body.String() != `{"status":"ok"}` || w.Header().Get("Content-Type") != "application/json" || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	for want, failure := range map[string]error{`200 {"status":"serving"`: nil, `503 {"status":"failing"`: errors.New("away")} {
		app := chassi.NewApp("test", chassi.AppOptions{Logger: slog.New(slog.DiscardHandler)})
		app.AddCheck("disk", func(context.Context) error { return failure })
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- app.Run(ctx) }()
		<-app.Started()
		w := get(httpapi.Readiness(app))
		if got := fmt.Sprint(w.Code, " ", w.Body); !strings.HasPrefix(got, want) {
			t.Errorf("%s, want %s", got, want)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}
