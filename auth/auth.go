// Package auth is the contract of the auth service, for both sides of the wire:
// the service interface, its messages, its errors and its endpoints. It knows no
// transport and no database. Package service, below, holds the rules.
package auth

import "context"

// Service is the auth service. Its errors are those in this package and, for
// faults, anything else. Every method is safe for concurrent use.
type Service interface {
	// SignUp makes an account. It answers the same, in the same time, when there is
	// one for that address already, and leaves that one as it is. It returns
	// [ErrInvalidEmail], [ErrWeakPassword], [ErrSignUpDisabled] or [ErrBusy].
	SignUp(ctx context.Context, r *SignUpRequest) (*SignUpResponse, error)

	// Authenticate gives a token for e-mail address and password. An unknown
	// address, a wrong password, and a locked or disabled account all get
	// [ErrInvalidUser], in the same time. It returns [ErrInvalidEmail] for what is
	// no address, [ErrWeakPassword] for what no password can be, such as one with a
	// NUL, and [ErrBusy] when more passwords wait than can be hashed soon.
	Authenticate(ctx context.Context, r *AuthenticateRequest) (*AuthenticateResponse, error)

	// ValidateToken returns whose token it is, or [ErrInvalidToken] for any token
	// that is not good now.
	ValidateToken(ctx context.Context, r *ValidateTokenRequest) (*ValidateTokenResponse, error)

	// Me returns the account of the caller.
	Me(ctx context.Context, r *MeRequest) (*MeResponse, error)

	// ChangePassword sets the caller's password and ends every token issued before,
	// the one of this call included; the answer has a new one. It returns
	// [ErrWrongPassword] for a wrong old one, [ErrWeakPassword] or [ErrBusy].
	ChangePassword(ctx context.Context, r *ChangePasswordRequest) (*ChangePasswordResponse, error)

	// JWKS returns the public keys that verify tokens (RFC 7517).
	JWKS(ctx context.Context, r *JWKSRequest) (*JWKSResponse, error)
}
