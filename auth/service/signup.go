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

// SignUp makes an account, or answers as if it had, in the same time.
func (s *Service) SignUp(ctx context.Context, r *auth.SignUpRequest) (*auth.SignUpResponse, error) {
	if !s.config.SignUp {
		return nil, auth.ErrSignUpDisabled
	}
	release, err := s.share(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	user, err := s.newUser(ctx, r.Email, r.Password)
	if err != nil {
		return nil, err
	}
	if err := s.store.SignUp(ctx, user); err != nil {
		return nil, fault(err)
	}
	s.options.Observe("sign_up")
	return &auth.SignUpResponse{Email: user.Email}, nil
}

// AddUser makes an account for an operator and returns its normal address, or
// [store.ErrEmailTaken].
func (s *Service) AddUser(ctx context.Context, address, plain string) (email string, err error) {
	user, err := s.newUser(ctx, address, plain)
	if err != nil {
		return "", err
	}
	return user.Email, fault(s.store.AddUser(ctx, user))
}

// newUser is an account that has not been stored.
func (s *Service) newUser(ctx context.Context, address, plain string) (store.User, error) {
	email, ok := NormalizeEmail(address)
	if !ok {
		return store.User{}, auth.ErrInvalidEmail
	}
	encoded, err := s.newPassword(ctx, email, plain)
	if err != nil {
		return store.User{}, err
	}
	return store.User{ID: newID(), Email: email, Password: encoded, Generation: 1, CreatedAt: s.options.Now()}, nil
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
