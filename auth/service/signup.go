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

// SignUp creates an account. If the address is taken it returns the same response in the same
// time.
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

// CheckSignUp returns the error that [Service.SignUp] returns for a request, an
// *[auth.SignUpRequest], with invalid fields or while sign-up is disabled, and nil for a valid
// request. It computes no hash and queries no store, so it reveals nothing about accounts.
func (s *Service) CheckSignUp(_ context.Context, request any) error {
	r, ok := request.(*auth.SignUpRequest)
	if !ok {
		return fmt.Errorf("service: check a sign-up: the request is a %T", request)
	}
	_, _, err := s.checkSignUp(r)
	return err
}

// checkSignUp returns the normalized address and password of a valid request.
func (s *Service) checkSignUp(r *auth.SignUpRequest) (email, plain string, err error) {
	if !s.config.SignUp {
		return "", "", auth.ErrSignUpDisabled
	}
	email, ok := NormalizeEmail(r.Email)
	if !ok {
		return "", "", errInvalidEmail
	}
	plain, err = s.checkPassword("password", email, r.Password)
	return email, plain, err
}

// AddUser creates an account and returns its normal address, or [store.ErrEmailTaken]. It is
// for operators.
func (s *Service) AddUser(ctx context.Context, address, plain string) (email string, err error) {
	email, ok := NormalizeEmail(address)
	if !ok {
		return "", auth.ErrInvalidEmail
	}
	encoded, err := s.newPassword(ctx, "password", email, plain)
	if err != nil {
		return "", err
	}
	return email, fault(s.store.AddUser(ctx, s.user(email, encoded)))
}

// user returns a new account, which is not stored yet.
func (s *Service) user(email, encoded string) store.User {
	return store.User{ID: newID(), Email: email, Password: encoded, Generation: 1, CreatedAt: s.options.Issued()}
}

// newPassword checks a new password against the policy and returns its hash. Field is the name of
// the password in the request.
func (s *Service) newPassword(ctx context.Context, field, email, plain string) (string, error) {
	plain, err := s.checkPassword(field, email, plain)
	if err != nil {
		return "", err
	}
	return s.hash(ctx, plain)
}

// checkPassword checks a new password against the policy and returns its normal form. Field is the
// name of the password in the request.
func (s *Service) checkPassword(field, email, plain string) (string, error) {
	plain, err := password.Normalize(plain)
	if err != nil {
		return "", weak(field, err)
	}
	local, _, _ := strings.Cut(email, "@")
	if err := s.config.Policy.Check(plain, email, local); err != nil {
		return "", weak(field, err)
	}
	return plain, nil
}

// refusals contains the messages for the reasons why a password is refused.
var refusals = map[password.Reason]string{
	password.TooShort:        "is too short",
	password.TooLong:         "is too long",
	password.InvalidText:     "is not valid text",
	password.Common:          "is too easily guessed",
	password.ContainsContext: "must not contain the e-mail address",
}

// errInvalidEmail is [auth.ErrInvalidEmail] with the name of the field of a request.
var errInvalidEmail = auth.ErrInvalidEmail.WithViolations(chassi.Violation{Field: "email", Message: "must be an e-mail address"})

// weak returns an error that says which field is invalid and why. It never contains the
// password.
func weak(field string, err error) error {
	var violations []chassi.Violation
	for _, reason := range slices.Sorted(maps.Keys(refusals)) {
		if errors.Is(err, reason) {
			violations = append(violations, chassi.Violation{Field: field, Message: refusals[reason]})
		}
	}
	return auth.ErrWeakPassword.WithViolations(violations...).WithCause(err)
}
