package contain_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chassi-go/chassi/breaker"
	"github.com/chassi-go/chassi/clock"
	"github.com/chassi-go/chassi/config"
	"github.com/chassi-go/chassi/discovery"
	"github.com/chassi-go/chassi/internal/contain"
	"github.com/chassi-go/chassi/telemetry"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

func TestCallAndRun(t *testing.T) {
	t.Parallel()
	failed := errors.New("failed")
	if err := contain.Call(func() error { return failed }); !errors.Is(err, failed) {
		t.Error(err)
	}
	if err := contain.Call(func() error { panic("boom") }); err == nil || !strings.Contains(err.Error(), "boom") || !strings.Contains(err.Error(), "contain_test.go") {
		t.Error(err)
	}
	var log bytes.Buffer
	contain.Run(slog.New(slog.NewTextHandler(&log, nil)), "a callback", func() { panic("boom") })
	for _, want := range []string{"level=ERROR", `in="a callback"`, "boom", "contain_test.go"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %s in %s", want, log.String())
		}
	}
}

// source has addresses, or panics.
type source struct{ panics bool }

func (s source) Next(ctx context.Context) ([]string, error) {
	if s.panics {
		panic("a panic in Next")
	}
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
	}
	return []string{fmt.Sprintf("192.0.2.5:%d", 8000+time.Now().Second())}, ctx.Err()
}

func (s source) Close() error { panic("a panic in Close") }

// Functions that the library calls on goroutines of its own, or while it holds a lock, do
// not end the process by a panic, and are called again.
func TestCallbacksAreContained(t *testing.T) {
	t.Parallel()
	quiet := slog.New(slog.DiscardHandler)
	within := func(ctx context.Context, d time.Duration) context.Context {
		ctx, cancel := context.WithTimeout(ctx, d)
		t.Cleanup(cancel)
		return ctx
	}
	for name, test := range map[string]func(*testing.T) int{
		"discovery, Source.Next": func(t *testing.T) (calls int) {
			discovery.Follow(within(t.Context(), time.Minute), source{panics: true}, discovery.Options{Logger: quiet}, func([]string) {})
			return 1
		},
		"discovery, update": func(t *testing.T) (calls int) {
			discovery.Follow(within(t.Context(), time.Minute), source{}, discovery.Options{Logger: quiet}, func([]string) { calls++; panic("a panic in update") })
			return calls
		},
		"breaker, OnChange": func(*testing.T) (calls int) {
			b := breaker.New(breaker.Options{Config: breaker.Config{Consecutive: 1}, Strict: true, OnChange: func(_, _ breaker.State) { calls++; panic("a panic in OnChange") }})
			_, _ = breaker.Do(b, func() (int, error) { return 0, errors.New("down") })
			if b.State() != breaker.Open {
				t.Error("the breaker is not open")
			}
			return calls
		},
		"clock, Read": func(t *testing.T) (calls int) {
			c := clock.New(clock.Options{Logger: quiet, Read: func(context.Context) (now, highest time.Time, err error) { calls++; panic("a panic in Read") }})
			if err := c.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour)
			if err := c.Stop(t.Context()); err != nil {
				t.Error(err)
			}
			return calls
		},
		"config, Watch": func(t *testing.T) (calls int) {
			file := filepath.Join(t.TempDir(), "watched")
			write := func(text string) {
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Error(err)
				}
			}
			write("")
			time.AfterFunc(10*time.Second, func() { write("a text") })
			time.AfterFunc(20*time.Second, func() { write("a longer text") })
			config.Watch(within(t.Context(), time.Minute), time.Second, []string{file}, func([]string) { calls++; panic("a panic in changed") })
			return calls
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				if test(t) == 0 {
					t.Error("it was not called")
				}
			})
		})
	}
}

// A panic in a function that metrics are read from costs no other metric.
func TestMetricsAreContained(t *testing.T) {
	t.Parallel()
	tel, err := telemetry.New(t.Context(), "test", "1", telemetry.Config{}, new(bytes.Buffer))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tel.Stop(context.Background()) }()
	if err := errors.Join(
		tel.RegisterComponents(func() []telemetry.Component { panic("a panic in components") }),
		tel.RegisterBroker("b", func() telemetry.BrokerStats { panic("a panic in a broker") }),
		tel.RegisterPool("p", func() telemetry.PoolStats { panic("a panic in a pool") }),
		tel.RegisterDB("d", func() sql.DBStats { panic("a panic in a database pool") }),
		tel.RegisterRemote("r", func() telemetry.RemoteStats { panic("a panic in a client") }),
		tel.RegisterOverload("o", func() telemetry.OverloadStats { panic("a panic in a limiter") }),
		tel.RegisterCertificate("c", func() telemetry.CertificateStats { panic("a panic in a certificate") }),
		tel.RegisterConnections("s", func() (open, refused int64) { panic("a panic in connections") }),
		tel.RegisterRefusedClients("s", func() int64 { panic("a panic in refused clients") }),
		tel.RegisterGauges("g", "help", "label", func() map[string]float64 { panic("a panic in gauges") }),
	); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	promhttp.HandlerFor(tel.Registry, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != 200 || !strings.Contains(w.Body.String(), "go_goroutines") {
		t.Errorf("%d %.200s", w.Code, w.Body)
	}
}
