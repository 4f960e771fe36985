package service

import (
	"context"
	"errors"
	"log/slog"

	"github.com/chassi-go/chassi/auth"
	"github.com/chassi-go/chassi/auth/store"
	"github.com/chassi-go/chassi/password"
	"github.com/chassi-go/chassi/workpool"
)

// Authenticate returns a token for an e-mail address and a password. [auth.Service] lists the
// errors.
func (s *Service) Authenticate(ctx context.Context, r *auth.AuthenticateRequest) (*auth.AuthenticateResponse, error) {
	if err := s.canIssue(); err != nil {
		return nil, err
	}
	email, ok := NormalizeEmail(r.Email)
	if !ok {
		return nil, errInvalidEmail
	}
	plain, err := password.Normalize(r.Password)
	if err != nil {
		return nil, weak("password", err)
	}
	release, err := s.share(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	user, err := s.lookUpUser(ctx, email)
	if err != nil {
		return nil, err
	}
	if err := s.verifyPassword(ctx, user, email, plain); err != nil {
		return nil, err
	}
	s.rehash(ctx, user.User, plain)
	issued, err := s.issue(user.User)
	if err != nil {
		return nil, err
	}
	s.options.Observe("login_ok")
	s.options.Logger.InfoContext(ctx, "login", "user_id", user.ID)
	return &auth.AuthenticateResponse{Token: issued}, nil
}

// lookUpUser returns the account of an address. For an unknown address it returns a placeholder
// that matches no password, so that the rest of the login takes the same time.
func (s *Service) lookUpUser(ctx context.Context, email string) (store.Login, error) {
	user, err := s.store.LoginByEmail(ctx, email, networkOf(ctx))
	if errors.Is(err, store.ErrNotFound) {
		return store.Login{User: store.User{Password: s.dummy}}, nil
	}
	if err != nil {
		return user, fault(err)
	}
	return user, nil
}

// verifyPassword checks a password, subject to the lockout. It returns [auth.ErrInvalidUser], in
// the same time, for a wrong password, for an unknown or disabled account, and for a locked
// attempt, which is verified against a hash that matches no password. An attempt whose hashing has
// begun stays counted unless the login succeeds, even if the client disconnects; an attempt that
// ends before its hashing begins is refunded.
func (s *Service) verifyPassword(ctx context.Context, user store.Login, email, plain string) error {
	if s.poolFull() {
		return s.shed(workpool.ErrFull)
	}
	attempt, err := s.begin(ctx, email, user)
	if err != nil {
		return err
	}
	defer attempt.end()
	encoded := user.Password
	if attempt.locked {
		encoded = s.dummy
	}
	fits, began, err := s.verify(ctx, encoded, plain)
	if err != nil {
		if !began {
			attempt.abandoned(ctx)
		}
		return err
	}
	switch {
	case attempt.locked:
		s.options.Observe("login_locked")
		s.options.Logger.InfoContext(ctx, "login refused: locked", "user_id", user.ID)
		return auth.ErrInvalidUser
	case !fits || user.ID == "" || user.Disabled:
		s.options.Observe("login_failed")
		s.options.Logger.InfoContext(ctx, "login failed", "user_id", user.ID, "disabled", user.Disabled)
		return auth.ErrInvalidUser
	}
	if err := attempt.succeeded(ctx); err != nil {
		return err
	}
	return ctx.Err()
}

// rehash replaces the stored hash of the password if its parameters are not the configured ones. An
// error is logged and does not fail the login. If the password has changed concurrently, the change
// is kept.
func (s *Service) rehash(ctx context.Context, user store.User, plain string) {
	if !password.NeedsRehash(user.Password, s.config.Password) {
		return
	}
	rehashed, err := s.hash(ctx, plain)
	if err == nil {
		err = s.store.Rehash(ctx, user.ID, user.Password, rehashed)
	}
	if err != nil {
		s.events.Log(slog.LevelWarn, "rehash put off to the next login", "user_id", user.ID, "error", err.Error())
	}
}
