package chassi_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chassi-go/chassi"
)

// brokenServer is a server whose named method panics.
type brokenServer struct {
	chassi.Component

	method string
}

func (p brokenServer) here(method string) {
	if p.method == method {
		panic("a panic in " + method)
	}
}

func (p brokenServer) Start(context.Context) error { p.here("Start"); return nil }
func (p brokenServer) Stop(context.Context) error  { p.here("Stop"); return nil }
func (p brokenServer) Check(context.Context) error { p.here("Check"); return nil }
func (p brokenServer) Drain()                      { p.here("Drain") }
func (p brokenServer) Close()                      { p.here("Close") }
func (p brokenServer) Failed() <-chan error        { p.here("Failed"); return nil }

// A panic in a function that the App was given never ends the process. One in a required
// start or stop is the error of Run.
func TestPanicsOfOthersAreContained(t *testing.T) {
	t.Parallel()
	boom := func() { panic("a panic in a callback") }
	of := func(method string) func(*chassi.App) {
		return func(a *chassi.App) { a.Add(brokenServer{chassi.ComponentFunc("broken", nil, nil), method}) }
	}
	for name, c := range map[string]struct {
		add    func(*chassi.App)
		status string // of the component in health, "" for none
		ends   bool   // whether Run returns an error
	}{
		"Start":  {of("Start"), "", true},
		"Stop":   {of("Stop"), "ok", true},
		"Drain":  {of("Drain"), "ok", false},
		"Failed": {of("Failed"), "ok", false},
		"Check":  {of("Check"), "failing", false},
		"Close": {func(a *chassi.App) {
			a.Add(chassi.ComponentFunc("first", fails(context.DeadlineExceeded), nil), brokenServer{chassi.ComponentFunc("broken", nil, nil), "Close"})
		}, "", true},
		"App.AddCheck":  {func(a *chassi.App) { a.AddCheck("broken", func(context.Context) error { boom(); return nil }) }, "failing", false},
		"App.AddStatus": {func(a *chassi.App) { a.AddStatus("broken", func() (string, string) { boom(); return "", "" }) }, "degraded", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				app := newApp(chassi.AppOptions{DrainDelay: time.Second})
				c.add(app)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				result := make(chan error, 1)
				go func() { result <- app.Run(ctx) }()
				time.Sleep(20 * time.Second) // the App probes by itself meanwhile
				synctest.Wait()
				if c.status != "" {
					for _, h := range []chassi.Health{app.Health(t.Context()), app.RecentHealth(t.Context(), time.Minute)} {
						if len(h.Checks) != 1 || h.Checks[0].Status != c.status {
							t.Errorf("health is %+v, want status %s", h, c.status)
						}
					}
				}
				cancel()
				if err := <-result; (err != nil) != c.ends {
					t.Errorf("Run = %v", err)
				}
			})
		})
	}
}

// The log says where a component panicked when it was started or stopped.
func TestPanicsOfComponentsAreLoggedWithTheStack(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"Start", "Stop", "Drain"} {
		var log bytes.Buffer
		app := chassi.NewApp("test", chassi.AppOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		app.Add(brokenServer{chassi.ComponentFunc("broken", nil, nil), method})
		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error, 1)
		go func() { result <- app.Run(ctx) }()
		select {
		case <-app.Started():
			cancel()
			<-result
		case <-result:
			cancel()
		}
		if !strings.Contains(log.String(), "a panic in "+method) || !strings.Contains(log.String(), "app_panic_test.go") {
			t.Errorf("%s: the log has no stack:\n%s", method, log.String())
		}
	}
}
