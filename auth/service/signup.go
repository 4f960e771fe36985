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

// SignUp creates an account and returns its normalized address. If the address already has an
// account, SignUp returns the same response in the same time. [auth.Service] lists the errors.
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

// CheckSignUp checks a request, which must be an *[auth.SignUpRequest], without carrying it out. It
// returns nil for a valid request, and the error of [Service.SignUp] for a request with invalid
// fields or while sign-up is disabled. CheckSignUp computes no hash and does not query the
// database, so it reveals nothing about accounts.
func (s *Service) CheckSignUp(_ context.Context, request any) error {
	r, ok := request.(*auth.SignUpRequest)
	if !ok {
		return fmt.Errorf("service: the request of a sign-up has type %T, want *auth.SignUpRequest", request)
	}
	_, _, err := s.checkSignUp(r)
	return err
}

// checkSignUp returns the normalized address and password of a request, or an error if the request
// is invalid or sign-up is disabled.
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

// AddUser creates an account and returns its normalized address. It returns [auth.ErrInvalidEmail]
// for a malformed address, [auth.ErrWeakPassword] for a password that is not permitted,
// [store.ErrEmailTaken] if the address already has an account, and [auth.ErrBusy] if the hashing
// pool is full or has stopped. It is for operators.
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

// user returns a new account with a normalized address and a password hash. It does not store the
// account.
func (s *Service) user(email, encoded string) store.User {
	return store.User{ID: newID(), Email: email, Password: encoded, Generation: 1, CreatedAt: s.options.Issued()}
}

// newPassword checks a new password against the policy and returns its hash. If the password is not
// valid text or the policy rejects it, the error is [auth.ErrWeakPassword] with the request field
// called field.
func (s *Service) newPassword(ctx context.Context, field, email, plain string) (string, error) {
	plain, err := s.checkPassword(field, email, plain)
	if err != nil {
		return "", err
	}
	return s.hash(ctx, plain)
}

// checkPassword checks a new password against the policy and returns its normal form. If the
// password is not valid text or the policy rejects it, the error is [auth.ErrWeakPassword] with the
// request field called field.
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

// refusals maps the reasons for rejecting a password to their messages.
var refusals = map[password.Reason]string{
	password.TooShort:        "is too short",
	password.TooLong:         "is too long",
	password.InvalidText:     "is not valid text",
	password.Common:          "is too easily guessed",
	password.ContainsContext: "must not contain the e-mail address",
}

// errInvalidEmail is [auth.ErrInvalidEmail] with the name of the invalid request field.
var errInvalidEmail = auth.ErrInvalidEmail.WithViolations(chassi.Violation{Field: "email", Message: "must be an e-mail address"})

// weak returns [auth.ErrWeakPassword] with the name of the invalid field and the reasons in err.
// The error never contains the password.
func weak(field string, err error) error {
	var violations []chassi.Violation
	for _, reason := range slices.Sorted(maps.Keys(refusals)) {
		if errors.Is(err, reason) {
			violations = append(violations, chassi.Violation{Field: field, Message: refusals[reason]})
		}
	}
	return auth.ErrWeakPassword.WithViolations(violations...).WithCause(err)
}
