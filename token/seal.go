package token

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

const (
	masterKeySize   = 32
	minMasterValues = 16   // distinct bytes; 32 random bytes have fewer with probability 3*10^-17
	sealVersion     = 0x01 // AES-256-GCM, random 96-bit nonce: version | nonce | ciphertext | tag
)

// ErrSealed is the error of [Open] if the master key or the additional data is not that of
// [Seal], or the sealed bytes are not a result of Seal.
var ErrSealed = errors.New("token: the sealed data cannot be decrypted with this master key and additional data")

// ParseMasterKey parses a master key: 32 bytes in hexadecimal or base64 (either alphabet, with or
// without padding), for example the output of `openssl rand -hex 32`. It returns an error if text
// has another form, or if the bytes are clearly not random.
func ParseMasterKey(text string) ([]byte, error) {
	key, ok := decodeMasterKey(strings.TrimSpace(text))
	if !ok {
		return nil, fmt.Errorf("token: master key must be %d bytes in hexadecimal or base64", masterKeySize)
	}
	if !isRandom(key) {
		return nil, errors.New("token: master key is not random; create a random key with: openssl rand -hex 32")
	}
	return key, nil
}

func decodeMasterKey(text string) ([]byte, bool) {
	if key, err := hex.DecodeString(text); err == nil && len(key) == masterKeySize {
		return key, true
	}
	text = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(text, "="))
	key, err := base64.RawStdEncoding.DecodeString(text)
	return key, err == nil && len(key) == masterKeySize
}

func isRandom(key []byte) bool {
	seen := make(map[byte]struct{})
	for _, b := range key {
		seen[b] = struct{}{}
	}
	return len(seen) >= minMasterValues
}

// Seal encrypts and authenticates plaintext with a master key of 32 bytes. The additional
// data aad binds the result to its context (see [KeyAAD]); it is not part of the result and
// must be passed to [Open] again. Use one master key for at most 2^32 calls. Seal returns an
// error if the master key does not have 32 bytes.
func Seal(master, plaintext, aad []byte) ([]byte, error) {
	aead, err := newAEAD(master)
	if err != nil {
		return nil, err
	}
	return aead.Seal([]byte{sealVersion}, nil, plaintext, versioned(aad)), nil //nolint:gosec // G407: this AEAD draws its own nonce
}

// Open returns the plaintext from a result of [Seal]. It returns [ErrSealed] if the data cannot
// be decrypted, and another error if the master key does not have 32 bytes.
func Open(master, sealed, aad []byte) ([]byte, error) {
	aead, err := newAEAD(master)
	if err != nil {
		return nil, err
	}
	if len(sealed) == 0 || sealed[0] != sealVersion {
		return nil, ErrSealed
	}
	plaintext, err := aead.Open(nil, nil, sealed[1:], versioned(aad))
	if err != nil {
		return nil, ErrSealed
	}
	return plaintext, nil
}

// KeyAAD returns the additional data for sealing a key. It binds the sealed key to
// its ID and algorithm, so that a stored key cannot be replaced by another key or
// used with another algorithm.
func KeyAAD(kid string, alg Algorithm) []byte {
	return []byte("signing key\x00" + kid + "\x00" + string(alg))
}

// SecretAAD returns the additional data for sealing a secret with the given name.
func SecretAAD(name string) []byte { return []byte("secret\x00" + name) }

func newAEAD(master []byte) (cipher.AEAD, error) {
	if len(master) != masterKeySize {
		return nil, fmt.Errorf("token: master key has %d bytes, want %d", len(master), masterKeySize)
	}
	block, err := aes.NewCipher(master)
	if err != nil {
		return nil, fmt.Errorf("token: master key: %w", err)
	}
	return cipher.NewGCMWithRandomNonce(block)
}

func versioned(aad []byte) []byte { return append([]byte{sealVersion}, aad...) }
