// Package token issues and verifies signed JSON Web Tokens (RFC 7519) for one issuer and one
// audience, and publishes the public keys as a JWKS.
//
// A [Key] signs and verifies. A [KeySet] contains the keys in use and selects the key that signs.
// [Sign] creates a token from [Claims]. A [Verifier] returns the claims of a valid token, and an
// error that matches [ErrInvalid] for any other token.
//
// # Strict parsing
//
// A verifier accepts only the header and the form of the signature that [Sign] produces. It
// compares a token's header, as text, with the headers of the keys in the set. It never parses an
// unknown header, so that an attacker's alg, kid, typ, crit, b64, jku, jwk, x5u and x5c have no
// effect. Base64 decoding is strict, and an ES256 signature must have the low s. All claims but the
// e-mail address are required; none may appear twice, and each must have the right type. Unknown
// claims are ignored. Changing any byte of a token invalidates it.
//
// # Time
//
// A token is valid from the later of nbf and iat, minus the leeway, until exp plus the leeway,
// exclusive. The default leeway is zero (see [Options]). If several machines issue and verify
// tokens, a leeway of a few seconds covers the difference between their clocks. Every
// verification checks the times, even that of a cached token.
//
// # Purposes
//
// The header's typ contains the purpose (RFC 8725 section 3.11): at+jwt for access (RFC 9068),
// and reset+jwt for a purpose "reset". A verifier accepts one purpose.
package token
