package service

import (
	"context"
	"errors"

	"github.com/chassi-go/chassi/auth"
	"github.com/chassi-go/chassi/auth/store"
	"github.com/chassi-go/chassi/password"
	"github.com/chassi-go/chassi/workpool"
)

// Authenticate gives a token for e-mail address and password.
func (s *Service) Authenticate(ctx context.Context, r *auth.AuthenticateRequest) (*auth.AuthenticateResponse, error) {
	if err := s.canIssue(); err != nil {
		return nil, err
	}
	email, ok := NormalizeEmail(r.Email)
	if !ok {
		return nil, auth.ErrInvalidEmail
	}
	plain, err := password.Normalize(r.Password)
	if err != nil {
		return nil, weak(err)
	}
	user, err := s.userOrGhost(ctx, email)
	if err != nil {
		return nil, err
	}
	if err := s.prove(ctx, user, email, plain); err != nil {
		return nil, err
	}
	s.rehash(ctx, user, plain)
	issued, err := s.issue(user)
	if err != nil {
		return nil, err
	}
	s.options.Observe("login_ok")
	s.options.Logger.InfoContext(ctx, "login", "user_id", user.ID)
	return &auth.AuthenticateResponse{Token: issued}, nil
}

// userOrGhost returns the account, or one that no password fits, so that an
// unknown address takes the same way and the same time.
func (s *Service) userOrGhost(ctx context.Context, email string) (store.User, error) {
	user, err := s.store.UserByEmail(ctx, email)
	if errors.Is(err, store.ErrNotFound) {
		return store.User{Password: s.dummy}, nil
	}
	if err != nil {
		return user, fault(err)
	}
	return user, nil
}

// prove evaluates one guess, within the lockout. It returns [auth.ErrInvalidUser]
// for any guess that is not good.
func (s *Service) prove(ctx context.Context, user store.User, email, plain string) error {
	if s.crowded() {
		return s.shed(workpool.ErrFull)
	}
	attempt, err := s.begin(ctx, email, user.ID)
	if err != nil {
		return err
	}
	if attempt == nil {
		s.options.Observe("login_locked")
		s.options.Logger.WarnContext(ctx, "login refused: locked", "user_id", user.ID)
		if err := s.pace.await(ctx); err != nil {
			return err
		}
		return auth.ErrInvalidUser
	}
	defer attempt.end()
	fits, err := s.verify(ctx, user.Password, plain)
	if err != nil {
		attempt.abandoned(ctx)
		return err
	}
	if !fits || user.ID == "" || user.Disabled {
		s.options.Observe("login_failed")
		s.options.Logger.InfoContext(ctx, "login failed", "user_id", user.ID, "disabled", user.Disabled)
		return auth.ErrInvalidUser
	}
	return attempt.succeeded(ctx)
}

// rehash stores the password under today's parameters. It is no reason to fail
// a login, and loses to a password change.
func (s *Service) rehash(ctx context.Context, user store.User, plain string) {
	if !password.NeedsRehash(user.Password, s.config.Password) {
		return
	}
	rehashed, err := s.hash(ctx, plain)
	if err == nil {
		err = s.store.Rehash(ctx, user.ID, user.Password, rehashed)
	}
	if err != nil {
		s.options.Logger.WarnContext(ctx, "rehash put off to the next login", "user_id", user.ID, "error", err.Error())
	}
}
