package service

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/auth"
	"github.com/chassi-go/chassi/auth/store"
	"github.com/chassi-go/chassi/password"
)

// SignUp makes an account, or answers as if it had.
func (s *Service) SignUp(ctx context.Context, r *auth.SignUpRequest) (*auth.SignUpResponse, error) {
	if !s.config.SignUp {
		return nil, auth.ErrSignUpDisabled
	}
	release, err := s.share(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	email, err := s.AddUser(ctx, r.Email, r.Password)
	if err != nil && !errors.Is(err, store.ErrEmailTaken) {
		return nil, err
	}
	s.options.Observe("sign_up")
	return &auth.SignUpResponse{Email: email}, nil
}

// AddUser makes an account and returns its normal address, or
// [store.ErrEmailTaken] after the same work.
func (s *Service) AddUser(ctx context.Context, address, plain string) (email string, err error) {
	email, ok := NormalizeEmail(address)
	if !ok {
		return "", auth.ErrInvalidEmail
	}
	encoded, err := s.newPassword(ctx, email, plain)
	if err != nil {
		return "", err
	}
	user := store.User{ID: newID(), Email: email, Password: encoded, Generation: 1, CreatedAt: s.options.Now()}
	if err := s.store.AddUser(ctx, user); err != nil {
		return email, fault(err)
	}
	return email, nil
}

// newPassword holds a new password against the policy and hashes it.
func (s *Service) newPassword(ctx context.Context, email, plain string) (string, error) {
	plain, err := password.Normalize(plain)
	if err != nil {
		return "", weak(err)
	}
	local, _, _ := strings.Cut(email, "@")
	if err := s.config.Policy.Check(plain, email, local); err != nil {
		return "", weak(err)
	}
	return s.hash(ctx, plain)
}

// refusals tells people what a policy's reasons mean.
var refusals = map[password.Reason]string{
	password.TooShort:        "is too short",
	password.TooLong:         "is too long",
	password.InvalidText:     "is not valid text",
	password.Common:          "is too easily guessed",
	password.ContainsContext: "must not contain the e-mail address",
}

// weak tells what is wrong with a password, never what it is.
func weak(err error) error {
	var violations []chassi.Violation
	for _, reason := range slices.Sorted(maps.Keys(refusals)) {
		if errors.Is(err, reason) {
			violations = append(violations, chassi.Violation{Field: "password", Message: refusals[reason]})
		}
	}
	return auth.ErrWeakPassword.WithViolations(violations...).WithCause(err)
}
