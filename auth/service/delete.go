package service

import (
	"context"

	"github.com/chassi-go/chassi/auth"
)

// DeleteUser deletes an account with all its data except its counts of failed logins, which are
// stored under keyed hashes of the address until they expire. Its tokens become invalid at once on
// this node and within a second on the others. The address can be used for a new account, which has
// another ID. DeleteUser returns [auth.ErrInvalidEmail] for a malformed address and
// [store.ErrNotFound] for an address without an account. It is for operators.
func (s *Service) DeleteUser(ctx context.Context, address string) error {
	email, ok := NormalizeEmail(address)
	if !ok {
		return auth.ErrInvalidEmail
	}
	id, err := s.store.DeleteUser(ctx, email)
	if err != nil {
		return err
	}
	s.sessions.invalidate(id)
	return nil
}
