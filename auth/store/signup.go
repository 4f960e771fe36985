package store

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"

	"github.com/chassi-go/chassi/database"
)

// SignUp stores a new account, or, when its address is taken, a row of the same shape
// that means nothing: the same statements, the same indexes, the same commit that waits for
// the disk, so that the time does not tell which it was. It does not return
// [ErrEmailTaken]. The rows that mean nothing hold random text, nothing of the caller's;
// [Store.ForgetTakenSignUps] deletes them.
func (s *Store) SignUp(ctx context.Context, u User) error {
	// Looking the id up is for what it reads: then neither kind of row is the first to need
	// a page of the account's indexes.
	var taken, known bool
	if err := s.db.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM users WHERE email = $1), EXISTS (SELECT 1 FROM users WHERE id = $2)",
		u.Email, u.ID).Scan(&taken, &known); err != nil {
		return err
	}
	if !taken {
		err := s.AddUser(ctx, u)
		if !errors.Is(err, ErrEmailTaken) {
			return err
		}
		// Another one came first a moment ago.
	}
	return s.insert(ctx, "taken_sign_ups", standIn(u))
}

// standIn is an account as long as u.
func standIn(u User) User {
	random := rand.Text() // 26 characters, 130 bits
	u.Email = random + strings.Repeat("x", max(0, len(u.Email)-len(random)))
	if end := strings.LastIndexByte(u.Password, '$'); end >= 0 {
		u.Password = u.Password[:end+1] + strings.Repeat("A", len(u.Password)-end-1)
	}
	return u
}

// insert stores an account in a table like users.
func (s *Store) insert(ctx context.Context, table string, u User) error {
	_, err := s.db.Exec(ctx, "INSERT INTO "+table+` (id, email, password, generation, disabled, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $6)`, u.ID, u.Email, u.Password, u.Generation, u.Disabled, micros(u.CreatedAt))
	return err
}

// takenBatch is how many rows are deleted at once: SQLite's other writers wait for it.
const takenBatch = 1000

// ForgetTakenSignUps deletes what [Store.SignUp] stored for addresses that were taken.
func (s *Store) ForgetTakenSignUps(ctx context.Context) error {
	for {
		var n int64
		err := s.db.WriteRelaxed(ctx, func(ctx context.Context, tx *database.Tx) (err error) {
			n, err = tx.Exec(ctx, "DELETE FROM taken_sign_ups WHERE id IN (SELECT id FROM taken_sign_ups LIMIT $1)", takenBatch)
			return err
		})
		if err != nil || n < takenBatch {
			return err
		}
	}
}
