// Package auth defines the contract between the servers and clients of the auth service: the
// service interface, its messages, its errors and its endpoints. It also contains a client. It
// depends on no transport and no database. Package service contains the implementation.
package auth

import "context"

// Service is the interface of the auth service. Every method may also return [ErrUnavailable] or
// ctx.Err(); any other error of an implementation is an internal failure. A [Client] also
// returns the errors of middleware, such as validation. Methods are safe for concurrent use.
type Service interface {
	// SignUp creates an account. If the address already has an account, SignUp returns the same
	// response, in the same time, and does not change the account. It returns [ErrInvalidEmail] for
	// a malformed address, [ErrWeakPassword] for a password that is not permitted,
	// [ErrSignUpDisabled] if sign-up is disabled, and [ErrBusy] if the queue for password hashing,
	// or the client's share of it, is full.
	SignUp(ctx context.Context, r *SignUpRequest) (*SignUpResponse, error)

	// Authenticate returns a token for an e-mail address and a password. It returns
	// [ErrInvalidUser], in the same time, for an unknown address, a wrong password, a disabled
	// account, and a locked account or network; [ErrInvalidEmail] for a malformed address;
	// [ErrWeakPassword] for text that cannot be a password, such as text with a NUL; and [ErrBusy]
	// if the queue for password hashing, the client's share of it, or the queue of logins of the
	// account or network is full.
	Authenticate(ctx context.Context, r *AuthenticateRequest) (*AuthenticateResponse, error)

	// ValidateToken returns the e-mail address of the account of a valid token, or
	// [ErrInvalidToken] if the token is not valid.
	ValidateToken(ctx context.Context, r *ValidateTokenRequest) (*ValidateTokenResponse, error)

	// Me returns the account of the authenticated client. It returns [ErrInvalidToken] if the
	// account no longer exists or the client is not authenticated.
	Me(ctx context.Context, r *MeRequest) (*MeResponse, error)

	// ChangePassword sets the client's password, revokes every token issued before, including the
	// token of this call, and returns a new token. It returns [ErrWrongPassword] if the old
	// password is wrong, the account is disabled, or the account or network is locked,
	// [ErrWeakPassword] if the new password is not permitted, [ErrInvalidToken] if the account no
	// longer exists, the client is not authenticated, or the token has been revoked concurrently,
	// and [ErrBusy] as Authenticate does.
	ChangePassword(ctx context.Context, r *ChangePasswordRequest) (*ChangePasswordResponse, error)

	// JWKS returns the public keys for verifying tokens (RFC 7517).
	JWKS(ctx context.Context, r *JWKSRequest) (*JWKSResponse, error)
}
