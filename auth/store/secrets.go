package store

import (
	"context"
	"time"

	"github.com/chassi-go/chassi/database"
)

// Secret is a named value of random bytes that all nodes share. Sealed reports whether Value is
// encrypted with the master key.
type Secret struct {
	Name      string
	Value     []byte
	Sealed    bool
	CreatedAt time.Time
}

func allSecrets(ctx context.Context, q database.Querier) ([]Secret, error) {
	rows, err := q.Query(ctx, "SELECT name, value, sealed, created_at FROM secrets ORDER BY name")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var secrets []Secret
	for rows.Next() {
		var s Secret
		var created int64
		if err := rows.Scan(&s.Name, &s.Value, &s.Sealed, &created); err != nil {
			return nil, err
		}
		s.CreatedAt = fromMicros(created)
		secrets = append(secrets, s)
	}
	return secrets, rows.Err()
}

func insertSecret(ctx context.Context, q database.Querier, s Secret) error {
	_, err := q.Exec(ctx, "INSERT INTO secrets (name, value, sealed, created_at) VALUES ($1, $2, $3, $4)", s.Name, s.Value, s.Sealed, micros(s.CreatedAt))
	return err
}
