package token

import (
	"cmp"
	"crypto/elliptic"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/go-json-experiment/json"
)

// Sign returns a token with the claims c, signed by the signing key of the set at
// c.IssuedAt. All claims but Email, Purpose, NotBefore and Generation are required. Sign returns
// an error if a claim is missing or invalid, if no key signs because the set is empty or
// all of its keys have expired, or if the token would be longer than [DefaultMaxSize].
func Sign(keys *KeySet, c Claims) (string, error) { return SignAt(c.IssuedAt, keys, c) }

// SignAt returns a token with the claims c, signed by the signing key of the set at the time
// at. The caller must take this time from the clock to which the times of the keys refer. The
// required claims and the errors are those of [Sign].
func SignAt(at time.Time, keys *KeySet, c Claims) (string, error) {
	c.Purpose = cmp.Or(c.Purpose, Access)
	if c.NotBefore.IsZero() {
		c.NotBefore = c.IssuedAt
	}
	if err := checkPurpose(c.Purpose); err != nil {
		return "", err
	}
	p := c.payload()
	if !p.complete() {
		return "", errors.New("token: claims must have iss, sub, aud and jti, the times iat, nbf and exp in the years 1970 to 9999, " +
			"exp after iat, and a generation of at least 0")
	}
	key := keys.signingKey(at)
	if key == nil {
		return "", errors.New("token: no key to sign with: the set is empty, or all of its keys have expired")
	}
	body, err := json.Marshal(p)
	if err != nil {
		return "", errors.New("token: the claims are not valid UTF-8") // the cause may quote them
	}
	return key.sign(key.header(c.Purpose) + "." + encode(body))
}

func (k *Key) sign(input string) (string, error) {
	signature, err := k.Algorithm.method().Sign(input, k.private)
	if err != nil {
		return "", fmt.Errorf("token: signing with key %s: %w", k.ID, err)
	}
	if k.Algorithm == ES256 {
		lowerS(signature)
	}
	token := input + "." + encode(signature)
	if len(token) > DefaultMaxSize {
		return "", fmt.Errorf("token: the token has %d bytes, want at most %d", len(token), DefaultMaxSize)
	}
	return token, nil
}

// verify reports whether signature is a valid signature of input by the key.
func (k *Key) verify(input string, signature []byte) bool {
	if k.Algorithm == ES256 && !hasLowS(signature) {
		return false
	}
	return k.Algorithm.method().Verify(input, signature, k.public) == nil
}

// halfOrder is half the order of P-256, rounded down.
const halfOrder = "\x7f\xff\xff\xff\x80\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff\xde\x73\x7d\x56\xd3\x8b\xcf\x42\x79\xdc\xe5\x61\x7e\x31\x92\xa8"

// hasLowS reports whether an ES256 signature, r | s, has the smaller of its two possible s
// values. Anyone can compute the other value: the order minus s.
func hasLowS(signature []byte) bool {
	return len(signature) == 64 && string(signature[32:]) <= halfOrder
}

func lowerS(signature []byte) {
	if hasLowS(signature) {
		return
	}
	s := new(big.Int).SetBytes(signature[32:])
	s.Sub(elliptic.P256().Params().N, s).FillBytes(signature[32:])
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
