package store

import (
	"context"
	"time"

	"github.com/chassi-go/chassi/database"
)

// SigningKey is a stored key. Private is sealed with the master key or not, as
// Sealed says.
type SigningKey struct {
	ID        string
	Algorithm string
	Private   []byte
	Sealed    bool
	CreatedAt time.Time
	ActiveAt  time.Time // signs from then on
	ExpiresAt time.Time // verifies until then; zero for one that has no successor
}

const keyColumns = "SELECT kid, algorithm, private, sealed, created_at, active_at, expires_at FROM signing_keys "

// SigningKeys returns the keys that have not expired at the given time, oldest
// first.
func (s *Store) SigningKeys(ctx context.Context, now time.Time) ([]SigningKey, error) {
	return signingKeys(ctx, s.db, now)
}

// FirstSigningKey stores k if there is no key that has not expired; it returns
// those there are then. Of two nodes that start together one key remains.
func (s *Store) FirstSigningKey(ctx context.Context, k SigningKey, now time.Time) (keys []SigningKey, err error) {
	err = s.db.Write(ctx, func(ctx context.Context, tx *database.Tx) error {
		keys, err = signingKeys(ctx, tx, now)
		if err != nil || len(keys) > 0 {
			return err
		}
		keys = []SigningKey{k}
		return insertKey(ctx, tx, k)
	})
	return keys, err
}

// RotateSigningKey stores k and lets all others expire at the given time, if
// they do not sooner.
func (s *Store) RotateSigningKey(ctx context.Context, k SigningKey, othersExpire time.Time) error {
	return s.db.Write(ctx, func(ctx context.Context, tx *database.Tx) error {
		if _, err := tx.Exec(ctx, "UPDATE signing_keys SET expires_at = $1 WHERE expires_at = 0 OR expires_at > $1", micros(othersExpire)); err != nil {
			return err
		}
		return insertKey(ctx, tx, k)
	})
}

// ReplacePrivate stores another form of a key's private part: sealed instead of
// plain, or under another master key.
func (s *Store) ReplacePrivate(ctx context.Context, kid string, private []byte, sealed bool) error {
	_, err := s.db.Exec(ctx, "UPDATE signing_keys SET private = $1, sealed = $2 WHERE kid = $3", private, sealed, kid)
	return err
}

// ForgetSigningKeys deletes the keys that expired before the given time.
func (s *Store) ForgetSigningKeys(ctx context.Context, before time.Time) error {
	_, err := s.db.Exec(ctx, "DELETE FROM signing_keys WHERE expires_at <> 0 AND expires_at < $1", micros(before))
	return err
}

func insertKey(ctx context.Context, q database.Querier, k SigningKey) error {
	_, err := q.Exec(ctx, `INSERT INTO signing_keys (kid, algorithm, private, sealed, created_at, active_at, expires_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		k.ID, k.Algorithm, k.Private, k.Sealed, micros(k.CreatedAt), micros(k.ActiveAt), micros(k.ExpiresAt))
	return err
}

func signingKeys(ctx context.Context, q database.Querier, now time.Time) ([]SigningKey, error) {
	rows, err := q.Query(ctx, keyColumns+"WHERE expires_at = 0 OR expires_at > $1 ORDER BY active_at, kid", micros(now))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var keys []SigningKey
	for rows.Next() {
		var k SigningKey
		var created, active, expires int64
		if err := rows.Scan(&k.ID, &k.Algorithm, &k.Private, &k.Sealed, &created, &active, &expires); err != nil {
			return nil, err
		}
		k.CreatedAt, k.ActiveAt, k.ExpiresAt = fromMicros(created), fromMicros(active), fromMicros(expires)
		keys = append(keys, k)
	}
	return keys, rows.Err()
}
