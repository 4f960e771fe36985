package service

import (
	"context"
	"errors"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/auth"
	"github.com/chassi-go/chassi/auth/store"
	"github.com/chassi-go/chassi/token"
)

// ValidateToken returns the e-mail address of the account of a valid token. It returns
// [auth.ErrInvalidToken] for an invalid token, and [auth.ErrUnavailable] if the database is
// unavailable or this node cannot decrypt the key of the token.
func (s *Service) ValidateToken(ctx context.Context, r *auth.ValidateTokenRequest) (*auth.ValidateTokenResponse, error) {
	claims, err := s.check(ctx, r.Token)
	if err != nil {
		return nil, err
	}
	return &auth.ValidateTokenResponse{Email: claims.Email}, nil
}

// Principal returns the principal of a valid token. Its errors are the errors of
// [Service.ValidateToken]. It is for middleware.Bearer, which authenticates the calls of endpoints.
func (s *Service) Principal(ctx context.Context, raw string) (*chassi.Principal, error) {
	claims, err := s.check(ctx, raw)
	if err != nil {
		return nil, err
	}
	return &chassi.Principal{Subject: claims.Subject, Name: claims.Email, Scheme: "bearer", ExpiresAt: claims.ExpiresAt}, nil
}

// unknownKey is the result of [token.Reason] for a token whose key this node has not loaded, perhaps
// because another node has just created the key.
const unknownKey = "unknown key"

// check verifies a token, also checks that it has not been revoked and that its account is not
// disabled, and returns the token's claims.
func (s *Service) check(ctx context.Context, raw string) (*token.Claims, error) {
	claims, err := s.verifier.Verify(raw)
	if token.Reason(err) == unknownKey && s.refresh.over(s.options.Now()) && s.loadKeys(ctx) == nil {
		claims, err = s.verifier.Verify(raw)
	}
	if token.Reason(err) == unknownKey && s.keys.unreadable(raw) {
		return nil, auth.ErrUnavailable.WithCause(errors.New("the token names a signing key that this node cannot decrypt")).WithRetryAfter(time.Second)
	}
	if err != nil {
		return nil, auth.ErrInvalidToken.WithCause(err)
	}
	current, err := s.sessions.generation(ctx, claims.Subject)
	if err != nil {
		return nil, fault(err) // rejected if the database is unavailable
	}
	if current != claims.Generation {
		return nil, auth.ErrInvalidToken
	}
	return claims, nil
}

// canIssue returns [auth.ErrUnavailable] if this node has no key to sign with or no root secret. It
// is called before a password is checked, so that the error reveals nothing about the password.
func (s *Service) canIssue() error {
	missing := ""
	if _, ok := s.signing.Load().SigningKey(s.options.Now()); !ok {
		missing = "no usable signing key: "
	} else if s.root.Load() == nil {
		missing = "the root secret is not loaded: "
	}
	if missing != "" {
		return auth.ErrUnavailable.WithCause(errors.New(missing + s.KeyStatus().Text)).WithRetryAfter(time.Second)
	}
	return nil
}

// issue returns a signed token for user, or an error of canIssue or of [token.SignAt].
func (s *Service) issue(user store.User) (string, error) {
	if err := s.canIssue(); err != nil {
		return "", err
	}
	now, issued := s.options.Now(), s.options.Issued()
	expires := now.Add(s.config.Token.TTL)
	if latest := issued.Add(maxTTL); expires.After(latest) {
		expires = latest
	}
	return token.SignAt(now, s.signing.Load(), token.Claims{
		Issuer: s.config.Token.Issuer, Audience: s.config.Token.Audience,
		Subject: user.ID, Email: user.Email, Generation: user.Generation, ID: newID(),
		IssuedAt: issued, NotBefore: issued, ExpiresAt: expires,
	})
}
