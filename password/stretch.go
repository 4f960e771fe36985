package password

import (
	"fmt"

	"golang.org/x/crypto/argon2"
)

// Stretch returns a digest of p.KeyLen bytes that depends on salt and text alone and costs as
// much as a hash under p. Use it for text that is easily guessed if no random salt can be
// stored. The salt has at least 8 bytes and must not be used for two texts. Like [Hash], it
// cannot be interrupted.
func Stretch(p Params, salt, text []byte) ([]byte, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	if len(salt) < minSaltLen {
		return nil, fmt.Errorf("password: the salt has %d bytes, must have at least %d", len(salt), minSaltLen)
	}
	return argon2.IDKey(text, salt, p.Time, p.Memory, p.Parallelism, p.KeyLen), nil
}
