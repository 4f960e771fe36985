package password

import (
	"fmt"

	"golang.org/x/crypto/argon2"
)

// Stretch returns p.KeyLen bytes that depend on salt and text alone and cost as much
// as a hash under p: a digest of text that is easily guessed, where the salt cannot be
// stored beside it. The salt has at least 8 bytes and is not to be used for two
// texts; text may be any bytes. As [Hash], it cannot be interrupted.
func Stretch(p Params, salt, text []byte) ([]byte, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	if len(salt) < minSaltLen {
		return nil, fmt.Errorf("password: a salt of %d bytes, must have %d at least", len(salt), minSaltLen)
	}
	return argon2.IDKey(text, salt, p.Time, p.Memory, p.Parallelism, p.KeyLen), nil
}
