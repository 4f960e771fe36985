package password

import (
	"fmt"

	"golang.org/x/crypto/argon2"
)

// Stretch returns a digest of p.KeyLen bytes that depends only on p, salt and text, and costs as
// much as a hash with p. Use it for text that is easily guessed if no random salt can be stored.
// The salt must have at least 8 bytes and must not be used for more than one text. Stretch
// returns an error if p is invalid or the salt is too short. It cannot be interrupted.
func Stretch(p Params, salt, text []byte) ([]byte, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	if len(salt) < minSaltLen {
		return nil, fmt.Errorf("password: the salt has %d bytes, want at least %d", len(salt), minSaltLen)
	}
	return argon2.IDKey(text, salt, p.Time, p.Memory, p.Parallelism, p.KeyLen), nil
}
