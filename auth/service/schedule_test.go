package service_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chassi-go/chassi/auth/service"
	"github.com/chassi-go/chassi/auth/store"
	"github.com/chassi-go/chassi/internal/dbtest"
	"github.com/chassi-go/chassi/password"
)

// A node that is started looks by itself for what other nodes did, and tidies up; one that is stopped
// does so no more.
func TestBackgroundWork(t *testing.T) {
	t.Parallel()
	url := dbtest.SQLite(t)
	encoded, err := password.Hash(raised().after, secret)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		var cleaned atomic.Int64
		n := start(t, url, defaults(), 10, nil, func(o *service.Options) {
			o.CleanUp = func(context.Context) error { cleaned.Add(1); return nil }
		})
		if _, err := n.RotateKey(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		if err := n.store.AddUser(t.Context(), store.User{ID: "ada", Email: email, Password: encoded, Generation: 1}); err != nil {
			t.Fatal(err)
		}
		if err := n.store.SignUp(t.Context(), store.User{ID: "another", Email: email, Password: encoded, Generation: 1}); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		at := func(after time.Duration, keys int, kinds bool, signUps int, clean int64) {
			t.Helper()
			time.Sleep(time.Until(began.Add(after)))
			synctest.Wait()
			if got := n.KeyStatus().Usable; got != keys {
				t.Errorf("after %v: %d keys, want %d", after, got, keys)
			}
			if got := strings.Contains(n.text(), `"kinds":2`); got != kinds {
				t.Errorf("after %v: kinds of hashes are known: %t", after, got)
			}
			if got := n.rows("taken_sign_ups"); got != signUps {
				t.Errorf("after %v: %d taken sign-ups, want %d", after, got, signUps)
			}
			if got := cleaned.Load(); got != clean {
				t.Errorf("after %v: cleaned %d times, want %d", after, got, clean)
			}
		}
		at(2*time.Second, 1, false, 1, 0)
		at(4*time.Second, 2, false, 1, 0)
		at(9*time.Second, 2, false, 1, 0)
		at(11*time.Second, 2, true, 1, 0)
		at(59*time.Second, 2, true, 1, 0)
		at(61*time.Second, 2, true, 0, 0)
		at(599*time.Second, 2, true, 0, 0)
		at(601*time.Second, 2, true, 0, 1)
		if err := n.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		at(time.Hour, 2, true, 0, 1)
	})
}
