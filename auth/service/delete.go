package service

import (
	"context"

	"github.com/chassi-go/chassi/auth"
)

// DeleteUser deletes an account with everything that belongs to it, for an operator. Its
// tokens end at once on this node and within a second on the others; its address can be
// used for a new account, which has another id. It returns [auth.ErrInvalidEmail] or
// [store.ErrNotFound].
func (s *Service) DeleteUser(ctx context.Context, address string) error {
	email, ok := NormalizeEmail(address)
	if !ok {
		return auth.ErrInvalidEmail
	}
	id, err := s.store.DeleteUser(ctx, email)
	if err != nil {
		return err
	}
	s.sessions.forget(id)
	return nil
}
