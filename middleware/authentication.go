package middleware

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"strings"

	"github.com/chassi-go/chassi"
)

// Authenticator finds out who makes a call from what stands beside the message.
// It returns nil and nil when the call has no credentials of its kind, and an
// error when it has wrong ones.
type Authenticator func(ctx context.Context, call *chassi.Call) (*chassi.Principal, error)

// Authentication gives each call of an endpoint that is not public its
// principal: the first one that an authenticator finds. A call with wrong
// credentials is refused; one with none goes on, to be refused by the endpoint's
// policy. No byte of the body has been read by then.
func Authentication(authenticators ...Authenticator) chassi.Middleware {
	return func(b *chassi.Binding, next chassi.Handler) chassi.Handler {
		if b.Endpoint.Public() {
			return next
		}
		return func(ctx context.Context, call *chassi.Call) error {
			for _, authenticate := range authenticators {
				principal, err := authenticate(ctx, call)
				if err != nil {
					return err
				}
				if principal != nil {
					call.Principal = principal
					break
				}
			}
			return next(ctx, call)
		}
	}
}

// Bearer reads the token of an "Authorization: Bearer" pair (RFC 6750, section
// 2.1) and lets verify say whose it is.
func Bearer(verify func(ctx context.Context, token string) (*chassi.Principal, error)) Authenticator {
	const scheme = "Bearer "
	return func(ctx context.Context, call *chassi.Call) (*chassi.Principal, error) {
		value := call.In.Get("Authorization")
		if len(value) <= len(scheme) || !strings.EqualFold(value[:len(scheme)], scheme) {
			return nil, nil
		}
		return verify(ctx, value[len(scheme):])
	}
}

// APIKey is a key that a program calls with. Only the digest is kept.
type APIKey struct {
	Name        string   // for logs; the principal's subject
	Digest      [32]byte // SHA-256 of the key, which must have 128 random bits or more
	Permissions []string
}

var errInvalidAPIKey = chassi.NewError(chassi.Unauthenticated, "invalid_api_key", "Invalid API key")

// APIKeys reads the pair "X-API-Key" and compares it with every key in constant
// time.
func APIKeys(keys ...APIKey) Authenticator {
	principals := make([]*chassi.Principal, len(keys))
	for i, k := range keys {
		principals[i] = &chassi.Principal{Subject: k.Name, Name: k.Name, Scheme: "api_key", Permissions: k.Permissions}
	}
	return func(_ context.Context, call *chassi.Call) (*chassi.Principal, error) {
		given := call.In.Get("X-Api-Key")
		if given == "" {
			return nil, nil
		}
		digest, found := sha256.Sum256([]byte(given)), -1
		for i := range keys {
			found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(digest[:], keys[i].Digest[:]), i, found)
		}
		if found < 0 {
			return nil, errInvalidAPIKey
		}
		return principals[found], nil
	}
}
