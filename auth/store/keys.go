package store

import (
	"context"
	"time"

	"github.com/chassi-go/chassi/database"
)

// SigningKey is a stored signing key. Sealed reports whether Private is encrypted with the master
// key.
type SigningKey struct {
	ID        string
	Algorithm string
	Private   []byte
	Sealed    bool
	CreatedAt time.Time
	ActiveAt  time.Time // start of signing
	ExpiresAt time.Time // end of verifying; zero for a key without a successor
}

// Live reports whether the key has not expired at the given time.
func (k SigningKey) Live(at time.Time) bool { return k.ExpiresAt.IsZero() || k.ExpiresAt.After(at) }

// KeyRing contains the stored keys and secrets. The field Sealed of each of them reports whether it
// is encrypted with the master key.
type KeyRing struct {
	// Check is a value encrypted with the master key, by which a program verifies that it has the
	// right master key. It is nil while the keys and secrets are stored without encryption, and
	// if no check value was stored with them.
	Check   []byte
	Keys    []SigningKey // oldest first, expired ones included
	Secrets []Secret     // by name
}

// Live returns the keys that have not expired at the given time, oldest first.
func (r KeyRing) Live(at time.Time) (live []SigningKey) {
	for _, k := range r.Keys {
		if k.Live(at) {
			live = append(live, k)
		}
	}
	return live
}

// KeyRing returns a consistent snapshot of the stored keys and secrets.
func (s *Store) KeyRing(ctx context.Context) (ring KeyRing, err error) {
	err = s.db.Read(ctx, func(ctx context.Context, tx *database.Tx) error {
		ring, err = keyRing(ctx, tx)
		return err
	})
	return ring, err
}

// ChangeKeys calls change with the stored keys and secrets and stores the result, in one
// transaction. If change returns an error, nothing is stored and ChangeKeys returns that error.
// ChangeKeys may call change more than once, each time with the keys stored at that time.
func (s *Store) ChangeKeys(ctx context.Context, change func(ring *KeyRing) error) error {
	return s.db.Write(ctx, func(ctx context.Context, tx *database.Tx) error {
		ring, err := keyRing(ctx, tx)
		if err != nil {
			return err
		}
		if err := change(&ring); err != nil {
			return err
		}
		return replaceKeys(ctx, tx, ring)
	})
}

// DeleteExpiredKeys deletes the keys that expired before the given time.
func (s *Store) DeleteExpiredKeys(ctx context.Context, before time.Time) error {
	_, err := s.db.Exec(ctx, "DELETE FROM signing_keys WHERE expires_at <> 0 AND expires_at < $1", micros(before))
	return err
}

// replaceKeys replaces all stored keys and secrets with those of ring. This is cheap, because a key
// ring has few rows.
func replaceKeys(ctx context.Context, q database.Querier, ring KeyRing) error {
	for _, statement := range []string{"DELETE FROM signing_keys", "DELETE FROM secrets", "DELETE FROM master_key_check"} {
		if _, err := q.Exec(ctx, statement); err != nil {
			return err
		}
	}
	for _, k := range ring.Keys {
		if err := insertKey(ctx, q, k); err != nil {
			return err
		}
	}
	for _, s := range ring.Secrets {
		if err := insertSecret(ctx, q, s); err != nil {
			return err
		}
	}
	if ring.Check == nil {
		return nil
	}
	_, err := q.Exec(ctx, "INSERT INTO master_key_check (id, sealed) VALUES (1, $1)", ring.Check)
	return err
}

func insertKey(ctx context.Context, q database.Querier, k SigningKey) error {
	_, err := q.Exec(ctx, `INSERT INTO signing_keys (kid, algorithm, private, sealed, created_at, active_at, expires_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		k.ID, k.Algorithm, k.Private, k.Sealed, micros(k.CreatedAt), micros(k.ActiveAt), micros(k.ExpiresAt))
	return err
}

func keyRing(ctx context.Context, q database.Querier) (ring KeyRing, err error) {
	if ring.Keys, err = signingKeys(ctx, q); err != nil {
		return ring, err
	}
	if ring.Secrets, err = allSecrets(ctx, q); err != nil {
		return ring, err
	}
	rows, err := q.Query(ctx, "SELECT sealed FROM master_key_check")
	if err != nil {
		return ring, err
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(&ring.Check); err != nil {
			return ring, err
		}
	}
	return ring, rows.Err()
}

func signingKeys(ctx context.Context, q database.Querier) ([]SigningKey, error) {
	rows, err := q.Query(ctx, `SELECT kid, algorithm, private, sealed, created_at, active_at, expires_at FROM signing_keys
		ORDER BY active_at, kid`)
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
