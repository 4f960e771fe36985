package store

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"

	"github.com/chassi-go/chassi/database"
)

// SignUp stores a new account. If the address already has an account, SignUp stores a placeholder
// row of about the same size instead, with the same statements, indexes and commit, so that the
// duration of SignUp does not reveal the difference. It then returns nil, not [ErrEmailTaken]. A
// placeholder row contains neither the address nor the password hash; [Store.DeleteTakenSignUps]
// deletes it.
func (s *Store) SignUp(ctx context.Context, u User) error {
	// The lookup of the ID loads the pages of the account's indexes, which makes the
	// following statements equally fast for both kinds of rows.
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
		// A concurrent sign-up has taken the address.
	}
	return s.insert(ctx, "taken_sign_ups", standIn(u))
}

// standIn returns a placeholder for u whose fields are as long as those of u, except that its
// address has at least 26 characters.
func standIn(u User) User {
	random := rand.Text() // 26 characters, 130 bits
	u.Email = random + strings.Repeat("x", max(0, len(u.Email)-len(random)))
	if end := strings.LastIndexByte(u.Password, '$'); end >= 0 {
		u.Password = u.Password[:end+1] + strings.Repeat("A", len(u.Password)-end-1)
	}
	return u
}

// insert stores an account in the given table, which has the columns of the table users.
func (s *Store) insert(ctx context.Context, table string, u User) error {
	_, err := s.db.Exec(ctx, "INSERT INTO "+table+` (id, email, password, generation, disabled, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $6)`, u.ID, u.Email, u.Password, u.Generation, u.Disabled, micros(u.CreatedAt))
	return err
}

// takenBatch is the maximum number of rows deleted in one transaction, during which the other
// writers of SQLite wait.
const takenBatch = 1000

// DeleteTakenSignUps deletes the placeholder rows of [Store.SignUp], up to 1,000 per transaction.
func (s *Store) DeleteTakenSignUps(ctx context.Context) error {
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
