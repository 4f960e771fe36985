package password

import (
	"crypto/rand"
	"crypto/subtle"

	"golang.org/x/crypto/argon2"
)

// Hash returns the hash of a password under a new random salt, as text to
// store: $argon2id$v=19$m=19456,t=2,p=1$salt$hash. It takes p.Memory KiB and
// cannot be interrupted. The error is that of [Params.Validate] or
// [Normalize].
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

// Verify reports whether the password is the one that was hashed. Its time
// does not depend on how alike they are. Text that [Hash] cannot have made is
// refused before memory is taken for it: [ErrMalformed], [ErrUnsupported]. A
// password that [Normalize] refuses is an error too.
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

// NeedsRehash reports whether encoded was made under other parameters than p,
// weaker or stronger, or is not to be used at all. Stronger ones count because
// they take more memory than the operator now plans for.
func NeedsRehash(encoded string, p Params) bool {
	d, err := parse(encoded)
	return err != nil || d.params != p
}

// Dummy returns a hash that no password fits and that takes as long to verify
// as one made under p. Verify against it when there is no such user, and the
// time says nothing. Invalid parameters are replaced by [DefaultParams].
func Dummy(p Params) string {
	if p.Validate() != nil {
		p = DefaultParams()
	}
	d := digest{params: p, salt: randomBytes(p.SaltLen), key: randomBytes(p.KeyLen)}
	return d.String()
}

// derive computes what d.key must be for a normalised password.
func (d digest) derive(password string) []byte {
	return argon2.IDKey([]byte(password), d.salt, d.params.Time, d.params.Memory, d.params.Parallelism, d.params.KeyLen)
}

func randomBytes(n uint32) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails: crypto/rand ends the process instead
	return b
}
