package httpapi_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/transport/httpapi"
)

// R76, R83: readiness tells what is known of each dependency, and no secret of a driver's error.
func TestReadinessTellsStatesWithoutSecrets(t *testing.T) {
	t.Parallel()
	app := chassi.NewApp("test", chassi.AppOptions{})
	app.Check("database", func(context.Context) error {
		return errors.New("connect to postgres://u:canary@h/db: " + strings.Repeat("refused ", 1000))
	})
	app.Check("disk", func(context.Context) error { return nil })
	app.Inform("cache", func() (status, detail string) {
		return "degraded", "unavailable: redis://:canary@h: refused"
	})
	app.Inform("billing", func() (status, detail string) { return "unknown", "2 instances" })
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
