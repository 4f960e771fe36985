package service

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"strings"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/auth"
	"github.com/chassi-go/chassi/auth/store"
	"github.com/chassi-go/chassi/password"
)

// Me returns the account of the authenticated client.
func (s *Service) Me(ctx context.Context, _ *auth.MeRequest) (*auth.MeResponse, error) {
	principal := chassi.PrincipalFrom(ctx)
	if principal == nil {
		return nil, auth.ErrInvalidToken
	}
	user, err := s.sessions.user(ctx, principal.Subject)
	if errors.Is(err, store.ErrNotFound) {
		return nil, auth.ErrInvalidToken
	}
	if err != nil {
		return nil, fault(err)
	}
	return &auth.MeResponse{ID: user.ID, Email: user.Email, CreatedAt: user.CreatedAt}, nil
}

// ChangePassword sets the client's password and revokes all older tokens. Checks of the old
// password are subject to the same lockout as logins.
func (s *Service) ChangePassword(ctx context.Context, r *auth.ChangePasswordRequest) (*auth.ChangePasswordResponse, error) {
	if err := s.canIssue(); err != nil {
		return nil, err
	}
	user, err := s.caller(ctx)
	if err != nil {
		return nil, err
	}
	release, err := s.share(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	old, err := password.Normalize(r.OldPassword)
	if err != nil {
		return nil, auth.ErrWrongPassword
	}
	if err := s.verifyPassword(ctx, user, user.Email, old); err != nil {
		if errors.Is(err, auth.ErrInvalidUser) {
			return nil, auth.ErrWrongPassword
		}
		return nil, err
	}
	encoded, err := s.newPassword(ctx, "new_password", user.Email, r.NewPassword)
	if err != nil {
		return nil, err
	}
	user.Generation, err = s.store.SetPassword(ctx, user.ID, user.Generation, encoded, s.options.Now())
	if errors.Is(err, store.ErrNotFound) {
		return nil, auth.ErrInvalidToken // a concurrent change has revoked this token
	}
	if err != nil {
		return nil, fault(err)
	}
	s.sessions.invalidate(user.ID)
	issued, err := s.issue(user.User)
	if err != nil {
		return nil, err
	}
	s.options.Logger.InfoContext(ctx, "password changed", "user_id", user.ID)
	return &auth.ChangePasswordResponse{Token: issued}, nil
}

// caller returns the account of the call's principal.
func (s *Service) caller(ctx context.Context) (store.Login, error) {
	principal := chassi.PrincipalFrom(ctx)
	if principal == nil {
		return store.Login{}, auth.ErrInvalidToken
	}
	user, err := s.store.LoginByID(ctx, principal.Subject, networkOf(ctx))
	if errors.Is(err, store.ErrNotFound) {
		return user, auth.ErrInvalidToken
	}
	if err != nil {
		return user, fault(err)
	}
	return user, nil
}

// Users returns a page of the accounts, see [store.Store.Users]. It is for operators.
func (s *Service) Users(ctx context.Context, after string, limit int) ([]store.User, error) {
	return s.store.Users(ctx, after, limit)
}

// SetPassword sets the password of an account and revokes its tokens. It is for operators.
func (s *Service) SetPassword(ctx context.Context, address, plain string) error {
	email, ok := NormalizeEmail(address)
	if !ok {
		return auth.ErrInvalidEmail
	}
	user, err := s.store.UserByEmail(ctx, email)
	if err != nil {
		return err
	}
	encoded, err := s.newPassword(ctx, "password", email, plain)
	if err != nil {
		return err
	}
	_, err = s.store.SetPassword(ctx, user.ID, -1, encoded, s.options.Now())
	s.sessions.invalidate(user.ID)
	return err
}

// SetDisabled disables an account, which revokes its tokens, or enables it again. It is for
// operators.
func (s *Service) SetDisabled(ctx context.Context, address string, disabled bool) error {
	email, ok := NormalizeEmail(address)
	if !ok {
		return auth.ErrInvalidEmail
	}
	user, err := s.store.UserByEmail(ctx, email)
	if err != nil {
		return err
	}
	err = s.store.SetDisabled(ctx, email, disabled, s.options.Now())
	s.sessions.invalidate(user.ID)
	return err
}

// newID returns 128 random bits in 26 lower-case characters.
func newID() string {
	var raw [16]byte
	_, _ = rand.Read(raw[:]) // documented never to fail
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(raw[:]))
}
