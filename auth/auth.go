// Package auth is the contract of the auth service, for server and client: the service
// interface, its messages, its errors and its endpoints. It depends on no transport and no
// database. Package service contains the implementation.
package auth

import "context"

// Service is the auth service. Its methods return the errors of this package, and any other
// error for an internal failure. Every method is safe for concurrent use.
type Service interface {
	// SignUp creates an account. If the address is taken it returns the same response, in the
	// same time, and does not change the existing account. It returns [ErrInvalidEmail],
	// [ErrWeakPassword], [ErrSignUpDisabled] or [ErrBusy].
	SignUp(ctx context.Context, r *SignUpRequest) (*SignUpResponse, error)

	// Authenticate returns a token for an e-mail address and a password. It returns
	// [ErrInvalidUser], in the same time, for an unknown address, a wrong password, and a locked
	// or disabled account; [ErrInvalidEmail] for a malformed address; [ErrWeakPassword] for text
	// that cannot be a password, such as one with a NUL; and [ErrBusy] if the queue for password
	// hashing is full, or the client's share of it.
	Authenticate(ctx context.Context, r *AuthenticateRequest) (*AuthenticateResponse, error)

	// ValidateToken returns the account of a valid token, or [ErrInvalidToken] for any other
	// token.
	ValidateToken(ctx context.Context, r *ValidateTokenRequest) (*ValidateTokenResponse, error)

	// Me returns the account of the authenticated client, or [ErrInvalidToken] if it no longer
	// exists.
	Me(ctx context.Context, r *MeRequest) (*MeResponse, error)

	// ChangePassword sets the client's password and revokes every token issued before,
	// including the one of this call; the response contains a new token. It returns
	// [ErrWrongPassword] if the old password is wrong, [ErrWeakPassword] if the new password is not
	// permitted, [ErrInvalidToken] if the token has been revoked concurrently, and [ErrBusy] as
	// Authenticate does.
	ChangePassword(ctx context.Context, r *ChangePasswordRequest) (*ChangePasswordResponse, error)

	// JWKS returns the public keys for verifying tokens (RFC 7517).
	JWKS(ctx context.Context, r *JWKSRequest) (*JWKSResponse, error)
}
