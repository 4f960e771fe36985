package service

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/chassi-go/chassi/auth"
	"github.com/chassi-go/chassi/password"
	"github.com/chassi-go/chassi/workpool"
)

// collect adds hashes to the count of computed hashes and runs the garbage collector after every n
// hashes, where n is half the number of workers, but at least 2. Each hash leaves 19 MiB of garbage
// with the default parameters. The process then uses about 1.5 x workers x 19 MiB, a third of what
// it would use otherwise, and serves 2 % fewer logins per second.
func (s *Service) collect(hashes int) {
	n := max(2, int64(s.options.Pool.Stats().Workers/2))
	after := s.hashed.Add(int64(hashes))
	if after/n != (after-int64(hashes))/n {
		runtime.GC()
	}
}

// hash returns a hash of plain, which it computes on the pool. It returns [auth.ErrBusy] if the
// pool is full or has stopped.
func (s *Service) hash(ctx context.Context, plain string) (string, error) {
	encoded, err := workpool.Do(ctx, s.options.Pool, func(context.Context) (string, error) {
		defer s.collect(1)
		return password.Hash(s.config.Password, plain)
	})
	return encoded, s.shed(err)
}

// Stretch returns a digest of text that is as expensive to compute as a password hash; see
// [password.Stretch]. It waits for a worker as a login does and counts toward the limit of the
// client's source until it returns. It returns [auth.ErrBusy] if the pool is full or has stopped,
// or the source has reached its limit.
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

// verify reports whether plain matches the stored hash encoded. It computes the hashes on the pool:
// one for each of the costs of a login, and a further one if those of encoded were left out (see
// costs). The result began reports whether hashing has begun; from then on verify returns only when
// hashing is complete, even if ctx is done. A stored hash that cannot be used matches no password;
// the error is logged and counted.
func (s *Service) verify(ctx context.Context, encoded, plain string) (fits, began bool, err error) {
	costs := s.costsFor(ctx, encoded)
	var taken atomic.Bool // by the task, which then hashes, or by the caller, which gives up
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
	return false, true, s.shed(err) // the task panicked
}

// shed returns [auth.ErrBusy] if err means that the pool or a queue is full or that the pool has
// stopped, and counts the rejection. It returns any other err unchanged.
func (s *Service) shed(err error) error {
	if errors.Is(err, workpool.ErrFull) || errors.Is(err, workpool.ErrStopped) {
		s.options.Observe("shed")
		return auth.ErrBusy.WithCause(err).WithRetryAfter(time.Second)
	}
	return err
}

// poolFull reports whether the pool would currently reject another task.
func (s *Service) poolFull() bool {
	stats := s.options.Pool.Stats()
	return stats.Busy >= stats.Workers && stats.Queued >= stats.QueueSize
}
