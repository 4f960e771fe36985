package store

import (
	"context"
	"time"

	"github.com/chassi-go/chassi/database"
)

// Secret is random bytes that all nodes share, sealed with the master key or not.
type Secret struct {
	Name      string
	Value     []byte
	Sealed    bool
	CreatedAt time.Time
}

// Secret returns the secret of that name, or [ErrNotFound].
func (s *Store) Secret(ctx context.Context, name string) (Secret, error) {
	return secret(ctx, s.db, name)
}

// FirstSecret stores a secret unless there is one of its name, and returns the one
// there is then: of nodes that start together one wins.
func (s *Store) FirstSecret(ctx context.Context, first Secret) (stored Secret, err error) {
	err = s.db.Write(ctx, func(ctx context.Context, tx *database.Tx) (err error) {
		if _, err = tx.Exec(ctx, `INSERT INTO secrets (name, value, sealed, created_at) VALUES ($1, $2, $3, $4)
			ON CONFLICT (name) DO NOTHING`, first.Name, first.Value, first.Sealed, micros(first.CreatedAt)); err != nil {
			return err
		}
		stored, err = secret(ctx, tx, first.Name)
		return err
	})
	return stored, err
}

// ReplaceSecret stores another form of a secret: sealed in place of plain.
func (s *Store) ReplaceSecret(ctx context.Context, next Secret) error {
	_, err := s.db.Exec(ctx, "UPDATE secrets SET value = $1, sealed = $2 WHERE name = $3", next.Value, next.Sealed, next.Name)
	return err
}

func secret(ctx context.Context, q database.Querier, name string) (Secret, error) {
	s := Secret{Name: name}
	var created int64
	err := q.QueryRow(ctx, "SELECT value, sealed, created_at FROM secrets WHERE name = $1", name).Scan(&s.Value, &s.Sealed, &created)
	s.CreatedAt = fromMicros(created)
	return s, err
}
