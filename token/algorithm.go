package token

import "github.com/golang-jwt/jwt/v5"

// Algorithm is a signature algorithm, named as in RFC 7518 and RFC 8037.
type Algorithm string

// The supported algorithms. Prefer EdDSA, which uses Ed25519. Use ES256 if a verifier does not
// support EdDSA. HS256 has no public key: every verifier can also issue tokens.
const (
	EdDSA Algorithm = "EdDSA"
	ES256 Algorithm = "ES256"
	HS256 Algorithm = "HS256"
)

// method returns the implementation of the algorithm in package jwt, or nil for an
// unknown algorithm.
func (a Algorithm) method() jwt.SigningMethod {
	switch a {
	case EdDSA:
		return jwt.SigningMethodEdDSA
	case ES256:
		return jwt.SigningMethodES256
	case HS256:
		return jwt.SigningMethodHS256
	}
	return nil
}
