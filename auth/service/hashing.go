package service

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/auth"
	"github.com/chassi-go/chassi/password"
	"github.com/chassi-go/chassi/workpool"
)

// collect is called after each hash, which leaves its 19 MiB as garbage. Collecting
// it after every second hash, with many workers after every half round of them,
// keeps the process at about workers x 19 MiB and half as much again, where the
// collector's own pace lets it grow to three times that; it costs two in a hundred
// logins.
func (s *Service) collect() {
	if n := max(2, int64(s.options.Pool.Stats().Workers/2)); s.hashed.Add(1)%n == 0 {
		runtime.GC()
	}
}

// hash hashes plain on the pool.
func (s *Service) hash(ctx context.Context, plain string) (string, error) {
	encoded, err := workpool.Do(ctx, s.options.Pool, func(context.Context) (string, error) {
		defer s.collect()
		return password.Hash(s.config.Password, plain)
	})
	return encoded, s.shed(err)
}

// verify compares plain with an encoded hash on the pool. A hash that cannot be
// used fits no password, and is counted for the operator.
func (s *Service) verify(ctx context.Context, encoded, plain string) (bool, error) {
	began := time.Now()
	fits, err := workpool.Do(ctx, s.options.Pool, func(context.Context) (bool, error) {
		defer s.collect()
		fits, err := password.Verify(encoded, plain)
		if err != nil {
			s.options.Observe("unusable_hash")
			s.options.Logger.ErrorContext(ctx, "a stored password hash cannot be used", "error", err.Error())
		}
		return fits, nil
	})
	if err == nil {
		s.pace.learn(time.Since(began))
	}
	return fits, s.shed(err)
}

// shed turns a full pool into "try later".
func (s *Service) shed(err error) error {
	var panicked *workpool.PanicError
	switch {
	case errors.Is(err, workpool.ErrFull), errors.Is(err, workpool.ErrStopped):
		s.options.Observe("shed")
		return auth.ErrBusy.WithCause(err).WithRetryAfter(time.Second)
	case errors.As(err, &panicked):
		return chassi.NewError(chassi.Internal, "internal", "Internal error").
			WithCause(&chassi.PanicError{Value: panicked.Value, Stack: panicked.Stack})
	default:
		return err
	}
}

// crowded tells whether another password would be refused by the pool, before
// anything is spent on it.
func (s *Service) crowded() bool {
	stats := s.options.Pool.Stats()
	return stats.Busy >= stats.Workers && stats.Queued >= stats.QueueSize
}

// pace is how long a password takes nowadays, waiting included. An account that
// is locked answers after that time, so that it looks like a wrong password and
// costs no hashing.
type pace struct{ nanos atomic.Int64 }

func (p *pace) learn(took time.Duration) {
	old := p.nanos.Load()
	if old == 0 {
		p.nanos.Store(int64(took))
		return
	}
	p.nanos.Store(old + (int64(took)-old)/8)
}

// await lets that time pass.
func (p *pace) await(ctx context.Context) error {
	timer := time.NewTimer(time.Duration(p.nanos.Load()))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
