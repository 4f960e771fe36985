package httpapi

import (
	"net/http"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/redact"
	"github.com/go-json-experiment/json"
)

// Liveness returns a handler that always responds with 200, which shows that the process can
// respond. Mount it at /healthz. It does not check dependencies, because a restart would not repair
// them.
func Liveness() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		writeHealth(w, http.StatusOK, health{Status: "ok"})
	})
}

// Readiness returns a handler that responds with 200 while app is serving and all its dependencies
// that are not optional are working, and otherwise with 503. The response contains the state of
// each dependency. Mount the handler at /readyz on the admin listener. The handler probes each
// dependency at most four times per second, however many requests arrive; it reports a stop of the
// app at once. Errors and details are truncated to 512 bytes, and text that looks like a secret is
// masked, because errors of drivers may contain URLs with passwords.
func Readiness(app *chassi.App) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		state := app.RecentHealth(r.Context(), probeInterval)
		response, status := health{Status: state.State, Checks: make(map[string]healthCheck)}, http.StatusOK
		if !state.Ready {
			status = http.StatusServiceUnavailable
			if response.Status == "serving" {
				response.Status = "failing"
			}
		}
		for _, c := range state.Checks {
			response.Checks[c.Name] = newHealthCheck(c)
		}
		writeHealth(w, status, response)
	})
}

// probeInterval is the maximum age of the probe results in a readiness response.
const probeInterval = 250 * time.Millisecond

type health struct {
	Status string                 `json:"status"`
	Checks map[string]healthCheck `json:"checks,omitempty"`
}

type healthCheck struct {
	Status string `json:"status"`
	Error  string `json:"error,omitempty"`
	Detail string `json:"detail,omitempty"`
	TookMS int64  `json:"took_ms"`
}

// maxHealthText is the maximum length in bytes of the error, and of the detail, of one dependency.
const maxHealthText = 512

func newHealthCheck(c chassi.CheckResult) healthCheck {
	h := healthCheck{Status: c.Status, Detail: redact.Text(c.Detail, maxHealthText), TookMS: c.Took.Round(time.Millisecond).Milliseconds()}
	if c.Err != nil {
		h.Error = redact.Text(c.Err.Error(), maxHealthText)
	}
	return h
}

func writeHealth(w http.ResponseWriter, status int, h health) {
	body, err := json.Marshal(h, json.Deterministic(true))
	if err != nil {
		status, body = http.StatusInternalServerError, fallbackError
	}
	w.Header()["Content-Type"] = jsonType
	w.Header()["Cache-Control"] = noStore
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
