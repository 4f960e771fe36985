package auth

import "time"

// SignUpRequest asks for an account.
type SignUpRequest struct {
	Email    string `json:"email" validate:"required,maxlength=254"`
	Password string `json:"password" validate:"required,maxlength=1024"`
}

// SignUpResponse has the address in its normal form. It does not tell whether
// the account is new.
type SignUpResponse struct {
	Email string `json:"email"`
}

// AuthenticateRequest has the credentials.
type AuthenticateRequest struct {
	Email    string `json:"email" validate:"required,maxlength=254"`
	Password string `json:"password" validate:"required,maxlength=1024"`
}

// AuthenticateResponse has the token.
type AuthenticateResponse struct {
	Token string `json:"token"`
}

// ValidateTokenRequest has the token to look at.
type ValidateTokenRequest struct {
	Token string `json:"token" validate:"required"`
}

// ValidateTokenResponse has the e-mail address of the token's account.
type ValidateTokenResponse struct {
	Email string `json:"email"`
}

// MeRequest asks for the caller's account.
type MeRequest struct{}

// MeResponse is the caller's account.
type MeResponse struct {
	ID        string    `json:"id"`
	Email     string    `json:"email"`
	CreatedAt time.Time `json:"created_at"`
}

// ChangePasswordRequest has the caller's old and new password.
type ChangePasswordRequest struct {
	OldPassword string `json:"old_password" validate:"required,maxlength=1024"`
	NewPassword string `json:"new_password" validate:"required,maxlength=1024"`
}

// ChangePasswordResponse has a token in place of those that have ended.
type ChangePasswordResponse struct {
	Token string `json:"token"`
}

// JWKSRequest asks for the public keys.
type JWKSRequest struct{}

// JWKSResponse is a JWK Set (RFC 7517, section 5). It is empty when tokens are
// signed with a shared secret.
type JWKSResponse struct {
	Keys []JWK `json:"keys"`
}

// JWK is one public key (RFC 7517, section 4; RFC 8037 for Ed25519).
type JWK struct {
	KeyType   string `json:"kty"`
	Use       string `json:"use"`
	Algorithm string `json:"alg"`
	KeyID     string `json:"kid"`
	Curve     string `json:"crv"`
	X         string `json:"x"`
	Y         string `json:"y,omitempty"`
}
