package password

import (
	"crypto/rand"
	"crypto/subtle"

	"golang.org/x/crypto/argon2"
)

// Hash returns the hash of a password with a new random salt, as a string such as
// $argon2id$v=19$m=19456,t=2,p=1$salt$hash. It uses p.Memory KiB of memory and cannot be
// interrupted. It returns the errors of [Params.Validate] and [Normalize].
func Hash(p Params, password string) (string, error) {
	if err := p.Validate(); err != nil {
		return "", err
	}
	password, err := Normalize(password)
	if err != nil {
		return "", err
	}
	d := digest{params: p, salt: randomBytes(p.SaltLen)}
	d.key = d.derive(password)
	return d.String(), nil
}

// Verify reports whether encoded is a hash of password. It compares in constant time. If encoded
// cannot be a result of [Hash], Verify returns an error that wraps [ErrMalformed] or
// [ErrUnsupported] before it computes a hash. For an invalid password, it returns an error of
// [Normalize].
func Verify(encoded, password string) (ok bool, err error) {
	d, err := parse(encoded)
	if err != nil {
		return false, err
	}
	password, err = Normalize(password)
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(d.derive(password), d.key) == 1, nil
}

// NeedsRehash reports whether encoded is not a valid hash or has parameters other than p,
// weaker or stronger.
func NeedsRehash(encoded string, p Params) bool {
	d, err := parse(encoded)
	return err != nil || d.params != p
}

// Dummy returns an encoded hash that matches no password and takes as long to verify as a hash
// with p. Verify against it for an unknown user, so that the time does not reveal whether the
// user exists. If p is invalid, Dummy uses [DefaultParams].
func Dummy(p Params) string {
	if p.Validate() != nil {
		p = DefaultParams()
	}
	d := digest{params: p, salt: randomBytes(p.SaltLen), key: randomBytes(p.KeyLen)}
	return d.String()
}

// derive returns the key of a normalized password with the parameters and the salt of d.
func (d digest) derive(password string) []byte {
	return argon2.IDKey([]byte(password), d.salt, d.params.Time, d.params.Memory, d.params.Parallelism, d.params.KeyLen)
}

func randomBytes(n uint32) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails: crypto/rand ends the process instead
	return b
}
