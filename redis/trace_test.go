package redis_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/chassi-go/chassi/calltrace"
	"github.com/chassi-go/chassi/internal/calltracetest"
	"github.com/chassi-go/chassi/internal/proxytest"
	"github.com/chassi-go/chassi/internal/redistest"
	"github.com/chassi-go/chassi/redis"
	"github.com/google/go-cmp/cmp"
)

// R102: each command of a call that is recorded is reported with how it ended, and without
// keys and values.
func TestCommandsAreReported(t *testing.T) {
	t.Parallel()
	c, _ := redistest.Config(t)
	db := redistest.Open(t, c)
	var r calltracetest.Recorder
	ctx := r.Context(t.Context())
	if _, err := db.Run(ctx, increment, []string{"canary@example.org"}, []string{"4711"}); err != nil {
		t.Fatal(err)
	}
	if err := ping(ctx, db); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Run(ctx, redis.NewScript("fails", `return redis.error_reply('WRONG canary@example.org')`), nil, nil); !errors.Is(err, redis.ErrUnavailable) {
		t.Fatal(err)
	}
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	_ = ping(canceled, db)
	late, cancel := context.WithDeadline(ctx, time.Unix(1, 0))
	defer cancel()
	_ = ping(late, db)
	got, running := r.Take()
	want := []calltracetest.Ended{
		{Operation: calltrace.Operation{System: "redis", Namespace: "0", Name: "EVALSHA", Target: "increment"}},
		{Operation: calltrace.Operation{System: "redis", Namespace: "0", Name: "TIME"}},
		{Operation: calltrace.Operation{System: "redis", Namespace: "0", Name: "EVALSHA", Target: "fails"}, Code: "WRONG"},
		{Operation: calltrace.Operation{System: "redis", Namespace: "0", Name: "TIME"}, Failure: "canceled"},
		{Operation: calltrace.Operation{System: "redis", Namespace: "0", Name: "TIME"}, Failure: "timeout"},
	}
	if diff := cmp.Diff(want, got); diff != "" || running != 0 || strings.Contains(fmt.Sprint(got), "canary") {
		t.Errorf("%d running; %s", running, diff)
	}
}

// ping runs a command.
func ping(ctx context.Context, db *redis.DB) error {
	_, err := db.Time(ctx)
	return err
}

// While Redis is unavailable, that is what is reported, and then that it is not asked.
func TestOutagesAreReported(t *testing.T) {
	t.Parallel()
	c, addr := redistest.Config(t)
	p := proxytest.New(t, addr)
	c.URL, c.Timeout, c.Logger = "redis://"+p.Addr, 50*time.Millisecond, slog.New(slog.DiscardHandler)
	db := redistest.Open(t, c)
	var r calltracetest.Recorder
	ctx := r.Context(t.Context())
	for range 4 {
		_ = ping(ctx, db)
	}
	texts := r.Texts()
	if len(texts) != 4 || texts[0] != "TIME: unavailable" || texts[3] != "TIME: breaker_open" {
		t.Error(texts)
	}
}
