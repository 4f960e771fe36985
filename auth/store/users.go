package store

import (
	"context"
	"errors"
	"time"

	"github.com/chassi-go/chassi/database"
)

// User is one account.
type User struct {
	ID         string
	Email      string // in its normal form
	Password   string // hash in the PHC string format
	Generation int64  // tokens of earlier generations are revoked
	Disabled   bool
	CreatedAt  time.Time
}

// ErrEmailTaken is returned if another account has the same e-mail address.
var ErrEmailTaken = errors.New("store: an account with this e-mail address exists")

const userColumns = "SELECT id, email, password, generation, disabled, created_at FROM users "

// AddUser stores a new account, or returns [ErrEmailTaken] if the address already has an account.
func (s *Store) AddUser(ctx context.Context, u User) error {
	err := s.insert(ctx, "users", u)
	if database.IsUnique(err) {
		return ErrEmailTaken
	}
	return err
}

// hashKind is the SQL expression for the part of a stored hash that names its algorithm and its
// costs, such as $argon2id$v=19$m=19456,t=2,p=1$: the stored text without salt and hash. An index
// uses exactly this expression.
const hashKind = `rtrim(rtrim(rtrim(password, '` + base64Letters + `'), '$'), '` + base64Letters + `')`

const base64Letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

// maxHashKinds is the maximum number of kinds that [Store.HashKinds] returns.
const maxHashKinds = 32

// HashKinds returns one stored password hash for each set of Argon2id parameters in use, at most 32
// hashes. It does one index lookup per set, whatever the number of accounts.
func (s *Store) HashKinds(ctx context.Context) (samples []string, err error) {
	kind := "$argon2id$"
	for range maxHashKinds {
		var encoded string
		err := s.db.QueryRow(ctx, "SELECT password, "+hashKind+" FROM users WHERE "+hashKind+" > $1 ORDER BY "+hashKind+" LIMIT 1", kind).Scan(&encoded, &kind)
		if errors.Is(err, database.ErrNotFound) {
			break
		}
		if err != nil {
			return nil, err
		}
		samples = append(samples, encoded)
	}
	return samples, nil
}

// UserByEmail returns the account with the given normalized address, or [ErrNotFound].
func (s *Store) UserByEmail(ctx context.Context, email string) (User, error) {
	return scanUser(s.db.QueryRow(ctx, userColumns+"WHERE email = $1", email))
}

// UserByID returns the account with the given ID, or [ErrNotFound].
func (s *Store) UserByID(ctx context.Context, id string) (User, error) {
	return scanUser(s.db.QueryRow(ctx, userColumns+"WHERE id = $1", id))
}

// Login is an account with the time of its last login from a network.
type Login struct {
	User
	// LastSeen is the time of the last stored login from the network, or the zero time if there
	// was none. Package service stores at most one per hour, so there may have been a later one.
	LastSeen time.Time
}

// LoginByEmail returns the account with the given normalized address and its last login from
// network. It returns [ErrNotFound], after the same work, if there is no such account.
func (s *Store) LoginByEmail(ctx context.Context, email, network string) (Login, error) {
	return s.login(ctx, "u.email", email, network)
}

// LoginByID returns the account with the given ID and its last login from network, or
// [ErrNotFound].
func (s *Store) LoginByID(ctx context.Context, id, network string) (Login, error) {
	return s.login(ctx, "u.id", id, network)
}

func (s *Store) login(ctx context.Context, column, value, network string) (l Login, err error) {
	var created, seen int64
	err = s.db.QueryRow(ctx, `SELECT COALESCE(u.id, ''), COALESCE(u.email, ''), COALESCE(u.password, ''), COALESCE(u.generation, 0),
			COALESCE(u.disabled, FALSE), COALESCE(u.created_at, 0), COALESCE(n.last_seen, 0)
		FROM (SELECT CAST($1 AS TEXT) AS value) w LEFT JOIN users u ON `+column+` = w.value
		LEFT JOIN networks n ON n.user_id = COALESCE(u.id, '') AND n.network = $2`, value, network).
		Scan(&l.ID, &l.Email, &l.Password, &l.Generation, &l.Disabled, &created, &seen)
	if err == nil && l.ID == "" {
		return Login{}, ErrNotFound
	}
	l.CreatedAt, l.LastSeen = fromMicros(created), fromMicros(seen)
	return l, err
}

// Users returns the accounts with addresses greater than after, sorted by address, at most limit of
// them.
func (s *Store) Users(ctx context.Context, after string, limit int) ([]User, error) {
	rows, err := s.db.Query(ctx, userColumns+"WHERE email > $1 ORDER BY email LIMIT $2", after, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var users []User
	for rows.Next() {
		u, err := scanUser(rows)
		if err != nil {
			return nil, err
		}
		users = append(users, u)
	}
	return users, rows.Err()
}

// Rehash replaces old, the stored hash, with rehashed, another hash of the same password. It does
// nothing if the password has changed since.
func (s *Store) Rehash(ctx context.Context, id, old, rehashed string) error {
	_, err := s.db.Exec(ctx, "UPDATE users SET password = $1 WHERE id = $2 AND password = $3", rehashed, id, old)
	return err
}

// SetPassword stores the hash of a new password, revokes all tokens of the account and returns the
// account's new generation. It returns [database.ErrNotFound] if the account was deleted or its
// generation is no longer the given one. Generation -1 matches any generation.
func (s *Store) SetPassword(ctx context.Context, id string, generation int64, password string, now time.Time) (int64, error) {
	next := int64(-1)
	err := s.db.Batch(ctx, database.Statement{
		SQL: `UPDATE users SET password = $1, generation = generation + 1, updated_at = $2
			WHERE id = $3 AND (generation = $4 OR $4 = -1) RETURNING generation`,
		Args: []any{password, micros(now), id, generation},
		Rows: func(rows database.Cursor) error {
			if !rows.Next() {
				return nil
			}
			return rows.Scan(&next)
		},
	})
	if err == nil && next < 0 {
		return 0, database.ErrNotFound
	}
	return next, err
}

// SetDisabled disables an account or enables it again; in either case it revokes all tokens of the
// account. It returns [database.ErrNotFound] if the account does not exist.
func (s *Store) SetDisabled(ctx context.Context, email string, disabled bool, now time.Time) error {
	changed, err := s.db.Exec(ctx, `UPDATE users SET disabled = $1, generation = generation + 1, updated_at = $2 WHERE email = $3`,
		disabled, micros(now), email)
	if err == nil && changed == 0 {
		return database.ErrNotFound
	}
	return err
}

func scanUser(row interface{ Scan(dest ...any) error }) (User, error) {
	var u User
	var created int64
	err := row.Scan(&u.ID, &u.Email, &u.Password, &u.Generation, &u.Disabled, &created)
	u.CreatedAt = fromMicros(created)
	return u, err
}
