package standard

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chassi-go/chassi/config"
)

// lines is a log.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b) //nolint:wrapcheck // nil
}

func (l *lines) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), text)
}

// A change of the file before a SIGHUP is loaded by that, and not again by the watch of the file,
// whether it is valid or not. While it is invalid the details of readiness say so.
func TestHangupAfterAChangeLoadsOnce(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "orders.yaml")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Error(err)
		}
	}
	write("timeout: 1s\n")
	load := func() (*Config, *config.Report, error) {
		c := new(Config)
		report, err := config.Load(c, config.Options{Name: "orders", File: file})
		return c, report, err //nolint:wrapcheck // complete sentences
	}
	c, report, err := load()
	if err != nil {
		t.Fatal(err)
	}
	c.HTTP.Addr, c.Admin.Addr = "127.0.0.1:0", "127.0.0.1:0"
	out := new(lines)
	app, err := New(t.Context(), "orders", "1", *c, Options{Log: out})
	if err != nil {
		t.Fatal(err)
	}
	var reloads atomic.Int64
	app.OnReload(func(any) error { reloads.Add(1); return nil })
	r := &reloader[Config]{invocation: &Invocation[Config]{load: load}, app: app, report: report, latest: report}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() { _ = r.watch(ctx) }()
		expect := func(want int64, status string) {
			t.Helper()
			<-time.After(3 * time.Second)
			synctest.Wait()
			if got, _ := r.status(); reloads.Load() != want || got != status {
				t.Errorf("%d reloads and %s, want %d and %s", reloads.Load(), got, want, status)
			}
		}
		write("timeout: 20s\n")
		r.reload("SIGHUP")
		expect(1, "ok")
		write("timeout: [\n")
		r.reload("SIGHUP")
		expect(1, "degraded")
		write("timeout: 300s\n")
		expect(2, "ok")
		if err := os.Remove(file); err != nil {
			t.Error(err)
		}
		expect(2, "ok")
		r.reload("SIGHUP")
		expect(2, "degraded")
		write("timeout: 300s\n")
		expect(3, "ok")
	})
	if err := app.Close(); err != nil {
		t.Error(err)
	}
	if n := out.count(invalidText); n != 2 { // the invalid file, and the deleted one
		t.Errorf("the invalid configuration was logged %d times:\n%s", n, out.text.String())
	}
}
