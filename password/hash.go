package password

import (
	"crypto/rand"
	"crypto/subtle"

	"golang.org/x/crypto/argon2"
)

// Hash returns the hash of a password under a new random salt, encoded as
// $argon2id$v=19$m=19456,t=2,p=1$salt$hash. It uses p.Memory KiB and cannot be interrupted. It
// returns the errors of [Params.Validate] and [Normalize].
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

// Verify reports whether password is the one that was hashed, in constant time. For text that
// [Hash] cannot have produced it returns [ErrMalformed] or [ErrUnsupported] before it allocates
// memory. It returns an error of [Normalize] for an invalid password.
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

// NeedsRehash reports whether encoded has other parameters than p, weaker or stronger, or cannot
// be used.
func NeedsRehash(encoded string, p Params) bool {
	d, err := parse(encoded)
	return err != nil || d.params != p
}

// Dummy returns a hash that matches no password and takes as long to verify as one under p.
// Verify against it for an unknown user, so that the time does not reveal whether the user
// exists. Invalid parameters are replaced by [DefaultParams].
func Dummy(p Params) string {
	if p.Validate() != nil {
		p = DefaultParams()
	}
	d := digest{params: p, salt: randomBytes(p.SaltLen), key: randomBytes(p.KeyLen)}
	return d.String()
}

// derive returns the key of a normalized password under the parameters and salt of d.
func (d digest) derive(password string) []byte {
	return argon2.IDKey([]byte(password), d.salt, d.params.Time, d.params.Memory, d.params.Parallelism, d.params.KeyLen)
}

func randomBytes(n uint32) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails: crypto/rand ends the process instead
	return b
}
