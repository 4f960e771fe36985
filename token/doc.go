// Package token issues and verifies signed JSON Web Tokens (RFC 7519) for one
// issuer and one audience, and publishes the public keys as a JWKS.
//
// A [Key] signs and verifies. A [KeySet] contains the keys in use and selects the
// one that signs. [Sign] creates a token from [Claims]. A [Verifier] returns the
// claims of a valid token, and [ErrInvalid] for any other.
//
// # Strict parsing
//
// A verifier accepts only the encoding that [Sign] produces. It compares a token's
// header, as text, with the headers of the keys in the set. It never parses an
// unknown header, so alg, kid, typ, crit, b64, jku, jwk, x5u and x5c of an attacker
// have no effect. Base64 decoding is strict, an ES256 signature must have the low s,
// and each claim must appear once and have the right type. Changing any byte of a
// token invalidates it.
//
// # Time
//
// A token is valid from nbf and iat, each minus the leeway, until exp plus the
// leeway, exclusively. The default leeway is zero, see [Options]; if several machines
// issue and verify, a few seconds cover the difference of their clocks. Every
// verification checks the times, also of a cached token.
//
// # Purposes
//
// The header's typ carries the purpose (RFC 8725 section 3.11): at+jwt for
// access (RFC 9068), reset+jwt for a purpose "reset". A verifier accepts one purpose.
package token
