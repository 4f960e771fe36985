package redisstore_test

import (
	"errors"
	"testing"
	"time"

	"github.com/chassi-go/chassi/idempotency"
	"github.com/chassi-go/chassi/idempotency/redisstore"
	"github.com/chassi-go/chassi/internal/idemtest"
	"github.com/chassi-go/chassi/internal/proxytest"
	"github.com/chassi-go/chassi/internal/redistest"
	"github.com/chassi-go/chassi/redis"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSuite(t *testing.T) {
	t.Parallel()
	c, _ := redistest.Config(t)
	idemtest.Run(t, func(t *testing.T) idempotency.Store { t.Helper(); return redisstore.New(redistest.Open(t, c)) })
}

// Without the server nothing begins.
func TestServerUnavailable(t *testing.T) {
	t.Parallel()
	c, addr := redistest.Config(t)
	p := proxytest.New(t, addr)
	c.URL, c.Timeout = "redis://"+p.Addr, 50*time.Millisecond
	store, a := redisstore.New(redistest.Open(t, c)), idemtest.Attempt()
	state, _, err := store.Begin(t.Context(), a, time.Minute)
	if !errors.Is(err, redis.ErrUnavailable) || state != 0 {
		t.Errorf("Begin: state %d, %v", state, err)
	}
	if err := store.Finish(t.Context(), a, nil, time.Minute); !errors.Is(err, redis.ErrUnavailable) {
		t.Errorf("Finish: %v", err)
	}
	if err := store.Abandon(t.Context(), a); !errors.Is(err, redis.ErrUnavailable) {
		t.Errorf("Abandon: %v", err)
	}
}
