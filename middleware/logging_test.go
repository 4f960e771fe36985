package middleware_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/calltest"
	"github.com/chassi-go/chassi/middleware"
)

func TestLoggingWritesOneLineForEachCall(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		method func(context.Context) error
		want   map[string]any
	}{
		"success": {calltest.Fine, map[string]any{"level": "INFO", "status": 200.0}},
		"refusal": {func(context.Context) error { return calltest.ErrRefused }, map[string]any{"level": "INFO", "status": 407.0}},
		"fault":   {func(context.Context) error { return calltest.ErrBroken }, map[string]any{"level": "ERROR", "status": 413.0}},
		"panic":   {calltest.Panics, map[string]any{"level": "ERROR", "status": 413.0}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log lines
			th := calltest.New(c.method, chassi.Public)
			th.Call.Principal, th.Call.PeerName = &chassi.Principal{Subject: "ada", Tenant: "acme"}, "worker"
			_ = th.Run(t.Context(), middleware.Logging(log.logger()), middleware.Recover())
			line := log.one(t)
			for key, want := range map[string]any{"msg": "call", "transport": "http", "method": "POST", "route": "/v1/things/{id}", "peer": "192.0.2.7", "peer_name": "worker", "subject": "ada", "tenant": "acme"} {
				if line[key] != want {
					t.Errorf("%s is %v, want %v", key, line[key], want)
				}
			}
			for key, want := range c.want {
				if line[key] != want {
					t.Errorf("%s is %v, want %v", key, line[key], want)
				}
			}
			if _, ok := line["latency_us"].(float64); !ok {
				t.Errorf("no latency: %v", line)
			}
			if _, ok := line["error"]; ok != (name != "success") {
				t.Errorf("error: %v", line)
			}
			stack := fmt.Sprint(line["stack"])
			if isPanic := name == "panic"; isPanic != strings.Contains(stack, "calltest.Panics") {
				t.Errorf("stack: %.200s", stack)
			}
		})
	}
}

// The line of an event or a job says which one it is.
func TestLoggingNamesEventsAndRuns(t *testing.T) {
	t.Parallel()
	for transport, key := range map[string]string{"event": "event_id", "job": "run_id", "http": ""} {
		var log lines
		th := calltest.New(calltest.Fine, chassi.Public)
		th.Binding.Transport = transport
		th.Call.In.Set("Idempotency-Key", "id-1")
		th.Call.In.Set("Attempts", "3")
		if err := th.Run(t.Context(), middleware.Logging(log.logger())); err != nil {
			t.Error(err)
		}
		line := log.one(t)
		if named := line["event_id"] != nil || line["run_id"] != nil; named != (key != "") || named && (line[key] != "id-1" || line["try"] != "3") {
			t.Errorf("%s: %v", transport, line)
		}
	}
}

// A malformed body is logged like any call.
func TestLoggingSurroundsDecoding(t *testing.T) {
	t.Parallel()
	var log lines
	th := calltest.New(calltest.Fine, chassi.Public)
	th.Body.Fail = chassi.NewError(chassi.InvalidArgument, "malformed", "Malformed")
	if err := th.Run(t.Context(), middleware.Logging(log.logger())); chassi.ErrorOf(err).Reason != "malformed" {
		t.Error(err)
	}
	if line := log.one(t); line["status"] != 403.0 {
		t.Errorf("%v", line)
	}
}

func TestLoggingFollowsTheLevel(t *testing.T) {
	t.Parallel()
	var log lines
	quiet := slog.New(slog.NewJSONHandler(&log.Buffer, &slog.HandlerOptions{Level: slog.LevelError}))
	_ = calltest.New(calltest.Fine, chassi.Public).Run(t.Context(), middleware.Logging(quiet))
	if log.Len() > 0 {
		t.Errorf("logged below the level: %s", &log)
	}
	_ = calltest.New(func(context.Context) error { return calltest.ErrBroken }, chassi.Public).Run(t.Context(), middleware.Logging(quiet))
	log.one(t)
}
