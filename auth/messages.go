package auth

import "time"

// SignUpRequest asks for an account.
type SignUpRequest struct {
	Email    string `json:"email" validate:"required,maxlength=254" doc:"The e-mail address of the account." example:"ada@example.org"`
	Password string `json:"password" validate:"required,maxlength=1024" doc:"The password, in plain text." example:"an analytical engine"`
}

// SignUpResponse has the address in its normal form. It does not tell whether
// the account is new.
type SignUpResponse struct {
	Email string `json:"email" doc:"The e-mail address in its normal form."`
}

// AuthenticateRequest has the credentials.
type AuthenticateRequest struct {
	Email    string `json:"email" validate:"required,maxlength=254" doc:"The e-mail address of the account." example:"ada@example.org"`
	Password string `json:"password" validate:"required,maxlength=1024" doc:"The password, in plain text." example:"an analytical engine"`
}

// AuthenticateResponse has the token.
type AuthenticateResponse struct {
	Token string `json:"token" doc:"A signed JSON Web Token."`
}

// ValidateTokenRequest has the token to look at.
type ValidateTokenRequest struct {
	Token string `json:"token" validate:"required" doc:"The token to look at."`
}

// ValidateTokenResponse has the e-mail address of the token's account.
type ValidateTokenResponse struct {
	Email string `json:"email" doc:"The e-mail address of the token's account."`
}

// MeRequest asks for the caller's account.
type MeRequest struct{}

// MeResponse is the caller's account.
type MeResponse struct {
	ID        string    `json:"id" doc:"The stable id of the account, the sub claim of its tokens."`
	Email     string    `json:"email" doc:"The e-mail address in its normal form."`
	CreatedAt time.Time `json:"created_at" doc:"When the account was made."`
}

// ChangePasswordRequest has the caller's old and new password.
type ChangePasswordRequest struct {
	OldPassword string `json:"old_password" validate:"required,maxlength=1024" doc:"The password so far."`
	NewPassword string `json:"new_password" validate:"required,maxlength=1024" doc:"The password from now on."`
}

// ChangePasswordResponse has a token in place of those that have ended.
type ChangePasswordResponse struct {
	Token string `json:"token" doc:"A signed JSON Web Token."`
}

// JWKSRequest asks for the public keys.
type JWKSRequest struct{}

// JWKSResponse is a JWK Set (RFC 7517, section 5). It is empty when tokens are
// signed with a shared secret.
type JWKSResponse struct {
	Keys []JWK `json:"keys" doc:"The keys, newest first; none when tokens are signed with a shared secret."`
}

// JWK is one public key (RFC 7517, section 4; RFC 8037 for Ed25519).
type JWK struct {
	KeyType   string `json:"kty" doc:"OKP or EC."`
	Use       string `json:"use" doc:"Always sig."`
	Algorithm string `json:"alg" doc:"EdDSA or ES256."`
	KeyID     string `json:"kid" doc:"The kid in the header of the tokens it verifies."`
	Curve     string `json:"crv" doc:"Ed25519 or P-256."`
	X         string `json:"x" doc:"The x coordinate, base64url."`
	Y         string `json:"y,omitempty" doc:"The y coordinate of an EC key, base64url."`
}
