package token

import "github.com/golang-jwt/jwt/v5"

// Algorithm is how a key signs, by its name in RFC 7518 and RFC 8037.
type Algorithm string

// All algorithms. EdDSA, with Ed25519, is the default choice; ES256 suits
// verifiers that lack it; HS256 has no public part, so whoever can verify can
// issue.
const (
	EdDSA Algorithm = "EdDSA"
	ES256 Algorithm = "ES256"
	HS256 Algorithm = "HS256"
)

// method returns the library's side of an algorithm, nil for an unknown one.
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
