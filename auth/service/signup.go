package service

import (
	"context"
	"errors"
	"fmt"
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
	email, plain, err := s.checkSignUp(r)
	if err != nil {
		return nil, err
	}
	release, err := s.share(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	encoded, err := s.hash(ctx, plain)
	if err != nil {
		return nil, err
	}
	user := s.user(email, encoded)
	if err := s.store.SignUp(ctx, user); err != nil {
		return nil, fault(err)
	}
	s.options.Observe("sign_up")
	return &auth.SignUpResponse{Email: user.Email}, nil
}

// CheckSignUp returns the error with which [Service.SignUp] refuses a request, an
// *[auth.SignUpRequest], for what is in it, and nil for all others. It hashes nothing and
// asks no store, so that it tells nothing of the accounts.
func (s *Service) CheckSignUp(_ context.Context, request any) error {
	r, ok := request.(*auth.SignUpRequest)
	if !ok {
		return fmt.Errorf("service: check a sign-up: the request is a %T", request)
	}
	_, _, err := s.checkSignUp(r)
	return err
}

// checkSignUp returns address and password of a good request in their normal forms.
func (s *Service) checkSignUp(r *auth.SignUpRequest) (email, plain string, err error) {
	if !s.config.SignUp {
		return "", "", auth.ErrSignUpDisabled
	}
	email, ok := NormalizeEmail(r.Email)
	if !ok {
		return "", "", auth.ErrInvalidEmail
	}
	plain, err = s.checkPassword(email, r.Password)
	return email, plain, err
}

// AddUser makes an account for an operator and returns its normal address, or
// [store.ErrEmailTaken].
func (s *Service) AddUser(ctx context.Context, address, plain string) (email string, err error) {
	email, ok := NormalizeEmail(address)
	if !ok {
		return "", auth.ErrInvalidEmail
	}
	encoded, err := s.newPassword(ctx, email, plain)
	if err != nil {
		return "", err
	}
	return email, fault(s.store.AddUser(ctx, s.user(email, encoded)))
}

// user is an account that has not been stored.
func (s *Service) user(email, encoded string) store.User {
	return store.User{ID: newID(), Email: email, Password: encoded, Generation: 1, CreatedAt: s.options.Issued()}
}

// newPassword holds a new password against the policy and hashes it.
func (s *Service) newPassword(ctx context.Context, email, plain string) (string, error) {
	plain, err := s.checkPassword(email, plain)
	if err != nil {
		return "", err
	}
	return s.hash(ctx, plain)
}

// checkPassword holds a new password against the policy and returns its normal form.
func (s *Service) checkPassword(email, plain string) (string, error) {
	plain, err := password.Normalize(plain)
	if err != nil {
		return "", weak(err)
	}
	local, _, _ := strings.Cut(email, "@")
	if err := s.config.Policy.Check(plain, email, local); err != nil {
		return "", weak(err)
	}
	return plain, nil
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
