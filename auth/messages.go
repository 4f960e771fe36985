package auth

import "time"

// SignUpRequest contains the credentials of a new account.
type SignUpRequest struct {
	Email    string `json:"email" validate:"required,max=254" doc:"The e-mail address of the account." example:"ada@example.org"`
	Password string `json:"password" validate:"required,max=1024" doc:"The password, in plain text." example:"an analytical engine"`
}

// SignUpResponse contains the e-mail address in its normal form. The response is the same whether
// or not the account is new.
type SignUpResponse struct {
	Email string `json:"email" doc:"The e-mail address in its normal form." example:"ada@example.org"`
}

// AuthenticateRequest contains the credentials of an account.
type AuthenticateRequest struct {
	Email    string `json:"email" validate:"required,max=254" doc:"The e-mail address of the account." example:"ada@example.org"`
	Password string `json:"password" validate:"required,max=1024" doc:"The password, in plain text." example:"an analytical engine"`
}

// AuthenticateResponse contains a new token for the account.
type AuthenticateResponse struct {
	Token string `json:"token" doc:"A signed JSON Web Token." example:"eyJhbGciOi..."`
}

// ValidateTokenRequest contains the token to validate.
type ValidateTokenRequest struct {
	Token string `json:"token" validate:"required" doc:"The token to validate." example:"eyJhbGciOi..."`
}

// ValidateTokenResponse contains the e-mail address of the token's account.
type ValidateTokenResponse struct {
	Email string `json:"email" doc:"The e-mail address of the token's account." example:"ada@example.org"`
}

// MeRequest is the request for the client's account. It has no fields.
type MeRequest struct{}

// MeResponse contains the client's account.
type MeResponse struct {
	ID        string    `json:"id" doc:"The stable id of the account, the sub claim of its tokens." example:"0198f4c2-5d1e-7c3a-9b64-2f6a0c1d8e77"`
	Email     string    `json:"email" doc:"The e-mail address in its normal form." example:"ada@example.org"`
	CreatedAt time.Time `json:"created_at" doc:"When the account was created."`
}

// ChangePasswordRequest contains the client's old and new password.
type ChangePasswordRequest struct {
	OldPassword string `json:"old_password" validate:"required,max=1024" doc:"The current password." example:"an analytical engine"`
	NewPassword string `json:"new_password" validate:"required,max=1024" doc:"The new password." example:"a difference engine"`
}

// ChangePasswordResponse contains a new token, which replaces the revoked tokens.
type ChangePasswordResponse struct {
	Token string `json:"token" doc:"A signed JSON Web Token." example:"eyJhbGciOi..."`
}

// JWKSRequest is the request for the public keys. It has no fields.
type JWKSRequest struct{}

// JWKSResponse is a JWK Set (RFC 7517, section 5). It contains no keys that are shared secrets.
type JWKSResponse struct {
	Keys []JWK `json:"keys" doc:"The keys, newest first. The list is empty if tokens are signed with a shared secret."`
}

// JWK is one public key (RFC 7517, section 4; RFC 8037 for Ed25519).
type JWK struct {
	KeyType   string `json:"kty" doc:"OKP or EC." example:"OKP"`
	Use       string `json:"use" doc:"Always sig." example:"sig"`
	Algorithm string `json:"alg" doc:"EdDSA or ES256." example:"EdDSA"`
	KeyID     string `json:"kid" doc:"The kid in the header of the tokens that the key verifies." example:"jWeuYT9vQ0k"`
	Curve     string `json:"crv" doc:"Ed25519 or P-256." example:"Ed25519"`
	X         string `json:"x" doc:"The x coordinate, base64url." example:"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"`
	Y         string `json:"y,omitempty" doc:"The y coordinate of an EC key, base64url."`
}
