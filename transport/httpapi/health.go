package httpapi

import (
	"net/http"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/redact"
	"github.com/go-json-experiment/json"
)

// Liveness answers 200 as long as the process can answer at all: mount it at
// /healthz. It looks at no dependency, because a restart would not mend one.
func Liveness() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		writeHealth(w, http.StatusOK, health{Status: "ok"})
	})
}

// Readiness answers 200 while app serves and all its dependencies work, 503
// otherwise, with the state of each: mount it at /readyz on the admin listener.
// Probes are made at most four times a second, however often and by however many it is
// asked; that the app stops is told at once. Errors and details are cut to 512 bytes, and what looks
// like a secret in them is masked: drivers may repeat the URL that they were given.
func Readiness(app *chassi.App) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		state := app.RecentHealth(r.Context(), probeInterval)
		answer, status := health{Status: state.State, Checks: make(map[string]healthCheck)}, http.StatusOK
		if !state.Ready {
			status = http.StatusServiceUnavailable
			if answer.Status == "serving" {
				answer.Status = "failing"
			}
		}
		for _, c := range state.Checks {
			answer.Checks[c.Name] = newHealthCheck(c)
		}
		writeHealth(w, status, answer)
	})
}

// probeInterval is how old the probes behind an answer of readiness may be.
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

// maxHealthText bounds what is told of one dependency, in bytes.
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
