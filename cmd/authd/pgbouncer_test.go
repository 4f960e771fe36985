package main

import (
	"testing"

	"github.com/chassi-go/chassi/internal/dbtest"
)

// Two nodes that start together behind a PgBouncer that pools by transaction, with its
// defaults: both become ready, and all that is stored works.
func TestTwoNodesBehindPgBouncer(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		test func(t *testing.T, nodes [2]*node)
		args []string
	}{
		"sign-ups, logins and one key set": {oneKeySet, nil},
		"password change":                  {aPasswordChangeEndsTokens, nil},
		"lockout":                          {parallelGuesses, []string{"--timeout=1m", "--hash.max_queued=1000", "--lockout.pair=5", "--lockout.max_delay=15m"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.test(t, pairOn(t, dbtest.PgBouncer(t), c.args...))
		})
	}
	t.Run("idempotency keys", func(t *testing.T) {
		t.Parallel()
		signUpWithAKey(t, "--database.url="+dbtest.PgBouncer(t))
	})
	t.Run("key rotation", func(t *testing.T) {
		t.Parallel()
		rotationUnderLoad(t, dbtest.PgBouncer(t, "default_pool_size = 5"))
	})
}
