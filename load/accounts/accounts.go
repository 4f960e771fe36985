// Package accounts creates accounts for load tests directly in the database, in batches. All
// accounts have the same password, which is hashed once.
package accounts

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/chassi-go/chassi/auth/store"
	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/password"
)

const (
	// DefaultPassword is the default password of the accounts.
	DefaultPassword = "much ado under load"
	// Max is the maximum number of accounts.
	Max = 10_000_000

	perStatement = 500    // rows of one INSERT
	perBatch     = 10_000 // rows of one transaction
	prefix       = "user"
	domain       = "@example.com"
)

// Email returns the e-mail address of account n, counted from 0. The address of account 0 is
// user0000000@example.com.
func Email(n int) string { return fmt.Sprintf("%s%07d%s", prefix, n, domain) }

// ErrOtherPassword is returned by [Seed] if the accounts of an earlier run have another password.
var ErrOtherPassword = errors.New("the existing accounts have another password: set that password, or use an empty database")

// Seeding configures [Seed].
type Seeding struct {
	Users    int    // number of accounts, from 1 to [Max]
	Password string // default [DefaultPassword]
	// Params contains the parameters of the password hash. The zero value means the default of
	// authd.
	Params password.Params
	// Progress, if not nil, is called after each batch with the number of accounts that exist.
	Progress func(done int)
}

func (s Seeding) withDefaults() (Seeding, error) {
	if s.Users < 1 || s.Users > Max {
		return s, fmt.Errorf("users is %d: want 1 to %d", s.Users, Max)
	}
	if s.Password == "" {
		s.Password = DefaultPassword
	}
	if s.Params == (password.Params{}) {
		s.Params = password.DefaultParams()
	}
	return s, nil
}

// Seed migrates the schema of db, creates the missing accounts, and returns the number of accounts
// that existed before the call. It creates the accounts in batches of 10,000. Each batch is one
// transaction, so that a later call continues after the last complete batch. Seed returns
// [ErrOtherPassword] if existing accounts have another password.
func Seed(ctx context.Context, db *database.DB, s Seeding) (before int, err error) {
	if s, err = s.withDefaults(); err != nil {
		return 0, err
	}
	if _, err := db.Migrate(ctx, store.Migrations()); err != nil {
		return 0, err
	}
	if before, err = count(ctx, db); err != nil {
		return 0, err
	}
	hash, err := hashFor(ctx, db, before, s)
	if err != nil {
		return before, err
	}
	for next := before; next < s.Users; {
		end := min(next+perBatch, s.Users)
		if err := insert(ctx, db, next, end, hash); err != nil {
			return before, fmt.Errorf("create accounts %d to %d: %w", next, end-1, err)
		}
		next = end
		if s.Progress != nil {
			s.Progress(next)
		}
	}
	return before, nil
}

// count returns the number of accounts. The accounts are created in the order of their numbers, so
// this is also the number of the first missing account.
func count(ctx context.Context, db *database.DB) (n int, err error) {
	rows, err := db.Query(ctx, `SELECT email FROM users WHERE email >= $1 AND email <= $2 AND email LIKE $3 ORDER BY email DESC`,
		Email(0), Email(Max-1), prefix+"_______"+domain)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	for rows.Next() {
		var email string
		if err := rows.Scan(&email); err != nil {
			return 0, err
		}
		digits := strings.TrimSuffix(strings.TrimPrefix(email, prefix), domain)
		if n, err := strconv.Atoi(digits); err == nil && Email(n) == email {
			return n + 1, nil
		}
	}
	return 0, rows.Err()
}

// hashFor returns a hash of the password: the hash of the first account, or a new hash if there is
// no account. It returns ErrOtherPassword if the first account has another password or an invalid
// hash.
func hashFor(ctx context.Context, db *database.DB, there int, s Seeding) (string, error) {
	if there == 0 {
		return password.Hash(s.Params, s.Password)
	}
	first, err := store.New(db).UserByEmail(ctx, Email(0))
	if err != nil {
		return "", fmt.Errorf("read account %s: %w", Email(0), err)
	}
	if fits, err := password.Verify(first.Password, s.Password); err != nil || !fits {
		return "", ErrOtherPassword
	}
	return first.Password, nil
}

// insert creates the accounts from first to end-1 in one transaction. A crash of the database
// server may lose this transaction; the next call to Seed creates the accounts again.
func insert(ctx context.Context, db *database.DB, first, end int, hash string) error {
	now := time.Now().UnixMicro()
	return db.WriteRelaxed(ctx, func(ctx context.Context, tx *database.Tx) error {
		for from := first; from < end; from += perStatement {
			n := min(perStatement, end-from)
			args := make([]any, 2, 2+2*n)
			args[0], args[1] = hash, now
			for i := range n {
				args = append(args, newID(), Email(from+i))
			}
			if _, err := tx.Exec(ctx, statement(n), args...); err != nil {
				return err
			}
		}
		return nil
	})
}

// statement returns an INSERT of n rows. $1 is the hash and $2 the time of all rows; the other
// parameters are the ID and the e-mail address of each row.
func statement(n int) string {
	var b strings.Builder
	b.WriteString("INSERT INTO users (id, email, password, generation, disabled, created_at, updated_at) VALUES ")
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "($%d,$%d,$1,1,FALSE,$2,$2)", 3+2*i, 4+2*i)
	}
	return b.String()
}

// newID returns an ID in the format of the service: 128 random bits in 26 characters.
func newID() string {
	var raw [16]byte
	_, _ = rand.Read(raw[:]) // never fails, says crypto/rand
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(raw[:]))
}
