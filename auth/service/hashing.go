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

// collect is called after hashes, each of which leaves its 19 MiB as garbage. Collecting
// it after every second hash, with many workers after every half round of them,
// keeps the process at about workers x 19 MiB and half as much again, where the
// collector's own pace lets it grow to three times that; it costs two in a hundred
// logins.
func (s *Service) collect(hashes int) {
	n := max(2, int64(s.options.Pool.Stats().Workers/2))
	after := s.hashed.Add(int64(hashes))
	if after/n != (after-int64(hashes))/n {
		runtime.GC()
	}
}

// hash hashes plain on the pool.
func (s *Service) hash(ctx context.Context, plain string) (string, error) {
	encoded, err := workpool.Do(ctx, s.options.Pool, func(context.Context) (string, error) {
		defer s.collect(1)
		return password.Hash(s.config.Password, plain)
	})
	return encoded, s.shed(err)
}

// Stretch returns a digest of text that costs as much to guess at as a password, see
// [password.Stretch]. It waits for the pool as a login does, with a place of the caller's
// source, and returns [auth.ErrBusy] when the pool is full or the source has all its
// places. The place is given back when it returns.
func (s *Service) Stretch(ctx context.Context, salt, text []byte) ([]byte, error) {
	release, err := s.share(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	digest, err := workpool.Do(ctx, s.options.Pool, func(context.Context) ([]byte, error) {
		defer s.collect(1)
		return password.Stretch(s.config.Password, salt, text)
	})
	return digest, s.shed(err)
}

// verify compares plain with an encoded hash on the pool, with the work of one hash
// of each cost that accounts have. Began tells whether it got as far as hashing, from
// where on it does not end with ctx: then fits is what came of it. A hash that cannot
// be used fits no password, and is counted for the operator.
func (s *Service) verify(ctx context.Context, encoded, plain string) (fits, began bool, err error) {
	costs := s.costsFor(ctx, encoded)
	var taken atomic.Bool // by the pool, which then hashes, or by the caller, who gives up
	result := make(chan bool, 1)
	_, err = workpool.Do(ctx, s.options.Pool, func(context.Context) (struct{}, error) {
		if taken.Swap(true) {
			return struct{}{}, nil
		}
		defer close(result)
		defer s.collect(len(costs))
		fits, err := password.VerifyAmong(costs, encoded, plain)
		if err != nil {
			s.options.Observe("unusable_hash")
			s.options.Logger.ErrorContext(ctx, "a stored password hash cannot be used", "error", err.Error())
		}
		result <- fits
		return struct{}{}, nil
	})
	if err != nil && !taken.Swap(true) {
		return false, false, s.shed(err)
	}
	fits, ok := <-result
	if ok {
		return fits, true, nil
	}
	return false, true, s.shed(err) // it panicked
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
