// Package token issues and verifies signed JSON Web Tokens (RFC 7519) for one
// issuer and one audience, and publishes the public keys as a JWKS.
//
// A [Key] signs. A [KeySet] holds the keys of the moment, picks the one that
// signs and knows those that still verify. [Sign] turns [Claims] into a token; a
// [Verifier] turns it back, or refuses it with [ErrInvalid].
//
// # One spelling
//
// A verifier takes only what [Sign] writes. A token's header is compared, as
// text, with the headers that the keys of the set would write; so the header of
// a stranger is never parsed, and none of its alg, kid, typ, crit, b64, jku,
// jwk, x5u or x5c can decide anything. base64 is strict, an ES256 signature has
// its low s, and a claim appears once, with its type. A changed byte makes
// another token, and that is refused.
//
// # Time
//
// A token is good from nbf and iat, each less the leeway, up to but not
// including exp plus the leeway. The leeway is zero unless [Options] says
// otherwise; where several machines issue and verify, a few seconds cover what
// their clocks differ. Every check looks at the clock, cached or not.
//
// # Kinds
//
// The header's typ carries the purpose (RFC 8725 section 3.11): at+jwt for
// access (RFC 9068), reset+jwt for a purpose "reset". A verifier takes one.
package token
