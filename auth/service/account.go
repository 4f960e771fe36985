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

// Me returns the account of the call's principal, or [auth.ErrInvalidToken] if the call has no
// principal or the account no longer exists.
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

// ChangePassword sets the client's password, revokes all older tokens and returns a new one. Checks
// of the old password are subject to the same lockout as logins. [auth.Service] lists the errors.
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

// caller returns the account of the call's principal, or [auth.ErrInvalidToken] if the call has no
// principal or the account no longer exists.
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

// Users returns the accounts with addresses greater than after, sorted by address, at most limit of
// them. It is for operators.
func (s *Service) Users(ctx context.Context, after string, limit int) ([]store.User, error) {
	return s.store.Users(ctx, after, limit)
}

// SetPassword sets the password of an account and revokes its tokens. It returns
// [auth.ErrInvalidEmail] for a malformed address, [store.ErrNotFound] for an address without an
// account, [auth.ErrWeakPassword] for a password that is not permitted, and [auth.ErrBusy] if the
// hashing pool is full or has stopped. It is for operators.
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

// SetDisabled disables an account or enables it again; in either case it revokes the account's
// tokens. It returns [auth.ErrInvalidEmail] for a malformed address and [store.ErrNotFound] for an
// address without an account. It is for operators.
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

// newID returns an ID of 128 random bits, as 26 lower-case base32 characters.
func newID() string {
	var raw [16]byte
	_, _ = rand.Read(raw[:]) // documented never to fail
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(raw[:]))
}
