package service_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chassi-go/chassi/auth"
	"github.com/chassi-go/chassi/database"
)

// T55: logins, validations and password changes of many accounts at once, with
// one writer to the database: each succeeds.
func TestT55ManyAtOnce(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, n *node) {
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				address, plain := fmt.Sprintf("user%d@example.org", i), fmt.Sprintf("an engine with %d wheels", i)
				if _, err := n.AddUser(t.Context(), address, plain); err != nil {
					t.Error(err)
					return
				}
				raw, err := n.login(address, plain, home)
				if err == nil {
					err = n.validate(raw)
				}
				if err == nil {
					raw, err = n.change(raw, plain, plain+" and more")
				}
				if err == nil {
					err = n.validate(raw)
				}
				if err != nil {
					t.Errorf("%s: %v", address, err)
				}
			})
		}
		all.Wait()
	})
}

// T56, fault 40: when the disk is full, what needs writing is refused as
// unavailable, tokens are validated as ever, and logins work again when the disk has space.
func TestT56DiskFull(t *testing.T) {
	t.Parallel()
	n := onSQLite(t)
	n.add(email, secret)
	raw := n.mustLogin()
	pages := func(limit int64) {
		t.Helper()
		err := n.db.Write(t.Context(), func(ctx context.Context, tx *database.Tx) error {
			var now int64
			return tx.QueryRow(ctx, fmt.Sprintf("PRAGMA max_page_count = %d", limit)).Scan(&now)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	pages(1) // SQLite makes it what there is
	var full error
	for i := 0; full == nil && i < 1000; i++ {
		_, full = n.AddUser(t.Context(), fmt.Sprintf("user%d@example.org", i), secret)
	}
	if !errors.Is(full, auth.ErrUnavailable) {
		t.Errorf("sign-up on a full disk: %v, want unavailable", full)
	}
	n.clock.advance(time.Second) // what was remembered of the account is asked anew
	if err := n.validate(raw); err != nil {
		t.Errorf("validation on a full disk: %v", err)
	}
	pages(1 << 20)
	n.add("grace@example.org", secret)
	n.mustLogin()
	if strings.Contains(n.text(), secret) {
		t.Error("the log holds the password")
	}
}
