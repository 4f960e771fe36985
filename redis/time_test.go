package redis_test

import (
	"errors"
	"testing"
	"time"

	"github.com/chassi-go/chassi/internal/redistest"
	"github.com/chassi-go/chassi/redis"
)

func TestTime(t *testing.T) {
	t.Parallel()
	c, _ := redistest.Config(t)
	db := redistest.Open(t, c)
	first, err := db.Time(t.Context())
	if err != nil || time.Since(first).Abs() > time.Hour {
		t.Errorf("%v, %v", first, err)
	}
	if second, err := db.Time(t.Context()); err != nil || second.Before(first) {
		t.Errorf("%v after %v, %v", second, first, err)
	}
	c.URL, c.Timeout = "redis://127.0.0.1:1", 100*time.Millisecond
	if _, err := redistest.Open(t, c).Time(t.Context()); !errors.Is(err, redis.ErrUnavailable) {
		t.Errorf("%v, want %v", err, redis.ErrUnavailable)
	}
}
