package service

import (
	"context"

	"github.com/chassi-go/chassi/auth"
)

// DeleteUser deletes an account with all its data. Its tokens become invalid at once on this
// node and within a second on the others. The address can be used for a new account, which
// has another ID. DeleteUser returns [auth.ErrInvalidEmail] or [store.ErrNotFound]. It is for
// operators.
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
