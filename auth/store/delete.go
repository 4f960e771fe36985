package store

import (
	"context"

	"github.com/chassi-go/chassi/database"
)

// DeleteUser deletes the account with the given normalized address and everything that refers to
// it. It returns the account's ID, which is never used again, or [database.ErrNotFound] if there is
// no such account.
func (s *Store) DeleteUser(ctx context.Context, email string) (id string, err error) {
	err = s.db.Write(ctx, func(ctx context.Context, tx *database.Tx) error {
		// ON DELETE CASCADE also deletes the networks.
		return tx.QueryRow(ctx, "DELETE FROM users WHERE email = $1 RETURNING id", email).Scan(&id)
	})
	return id, err
}
