package store

import (
	"context"
	"errors"
	"time"

	"github.com/chassi-go/chassi/database"
)

// LastSeen returns when the user last logged in from the network, zero for never.
func (s *Store) LastSeen(ctx context.Context, userID, network string) (time.Time, error) {
	var seen int64
	err := s.db.QueryRow(ctx, "SELECT last_seen FROM networks WHERE user_id = $1 AND network = $2", userID, network).Scan(&seen)
	if errors.Is(err, database.ErrNotFound) {
		return time.Time{}, nil
	}
	return fromMicros(seen), err
}
