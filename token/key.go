package token

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"time"
)

const (
	minSecret = 32 // bytes of an HS256 secret: the size of its hash, RFC 7518 section 3.2
	maxKeyID  = 64 // bytes
)

// Key signs and verifies tokens with one algorithm. Create a key with [GenerateKey] or
// [ParseKey]; the zero value is not usable. Printing or logging a key, or encoding it as
// JSON, does not reveal its secret. A [KeySet] contains copies of its keys, so that later
// changes of a key's fields do not affect the set.
type Key struct { //nolint:recvcheck // what prints has a value receiver, so that no copy shows the secret
	ID        string    // the kid: 1 to 64 of A-Z a-z 0-9 - _
	Algorithm Algorithm // fixed by the key material
	CreatedAt time.Time
	NotBefore time.Time // when the key begins to sign; it verifies before then too
	ExpiresAt time.Time // when the key ceases to verify; zero for a key that has no successor

	private any               // ed25519.PrivateKey, *ecdsa.PrivateKey or []byte
	public  any               // ed25519.PublicKey, *ecdsa.PublicKey or []byte, the HS256 secret
	mark    [sha256.Size]byte // digest of the algorithm and public
}

// GenerateKey returns a new key with a random ID. The key may sign from now on and does not
// expire. GenerateKey returns an error if the algorithm is unknown.
func GenerateKey(alg Algorithm) (*Key, error) {
	private, err := generate(alg)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	k, err := newKey(rand.Text(), alg, private)
	if err != nil {
		return nil, err
	}
	k.CreatedAt, k.NotBefore = now, now
	return k, nil
}

func generate(alg Algorithm) (any, error) {
	switch alg {
	case EdDSA:
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return private, err
	case ES256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case HS256:
		secret := make([]byte, minSecret)
		rand.Read(secret) // never fails: crypto/rand ends the process instead
		return secret, nil
	}
	return nil, unknownAlgorithm(alg)
}

// ParseKey parses the result of [Key.MarshalPrivate]: PKCS #8 in DER or, for HS256, the secret
// of at least 32 bytes. It returns an error if the ID, the algorithm or the encoding is
// invalid, or if the key is for another algorithm. The caller must set the times of the key.
func ParseKey(kid string, alg Algorithm, der []byte) (*Key, error) {
	if alg.method() == nil {
		return nil, unknownAlgorithm(alg)
	}
	if alg == HS256 {
		return newKey(kid, alg, bytes.Clone(der))
	}
	private, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		// The cause may quote the key.
		return nil, fmt.Errorf("token: key %q for %s is not PKCS #8 in DER", kid, alg)
	}
	return newKey(kid, alg, private)
}

// MarshalPrivate returns the private key in the form that [ParseKey] parses. Store the
// result encrypted, for example with [Seal].
func (k *Key) MarshalPrivate() ([]byte, error) {
	if secret, ok := k.private.([]byte); ok {
		return bytes.Clone(secret), nil
	}
	der, err := x509.MarshalPKCS8PrivateKey(k.private)
	if err != nil {
		return nil, fmt.Errorf("token: marshaling key %s: %w", k.ID, err)
	}
	return der, nil
}

func newKey(kid string, alg Algorithm, private any) (*Key, error) {
	if !isName(kid, maxKeyID) {
		return nil, fmt.Errorf("token: key ID %q must have 1 to %d of the characters A-Z a-z 0-9 - _", kid, maxKeyID)
	}
	k := &Key{ID: kid, Algorithm: alg, private: private}
	material, err := k.derivePublic()
	if err != nil {
		return nil, err
	}
	k.mark = sha256.Sum256(append([]byte(alg+"\x00"), material...))
	return k, nil
}

// derivePublic sets the public key and returns its encoding. It returns an error if the key
// material is for another algorithm, or if an HS256 secret is too short.
func (k *Key) derivePublic() ([]byte, error) {
	switch private := k.private.(type) {
	case ed25519.PrivateKey:
		if k.Algorithm == EdDSA {
			public := private[ed25519.SeedSize:]
			k.public = ed25519.PublicKey(public)
			return public, nil
		}
	case *ecdsa.PrivateKey:
		if k.Algorithm == ES256 && private.Curve == elliptic.P256() {
			k.public = &private.PublicKey
			return private.PublicKey.Bytes()
		}
	case []byte:
		if k.Algorithm == HS256 && len(private) < minSecret {
			return nil, fmt.Errorf("token: secret of key %s has %d bytes, want at least %d", k.ID, len(private), minSecret)
		} else if k.Algorithm == HS256 {
			k.public = private
			return private, nil
		}
	}
	return nil, fmt.Errorf("token: material of key %s is not for the algorithm %q", k.ID, k.Algorithm)
}

// expired reports whether the key no longer verifies tokens at the time now.
func (k *Key) expired(now time.Time) bool {
	return !k.ExpiresAt.IsZero() && !now.Before(k.ExpiresAt)
}

// String returns the ID and the algorithm of the key.
func (k Key) String() string { return fmt.Sprintf("token.Key(%s %s)", k.ID, k.Algorithm) }

// Format writes the result of [Key.String] for every verb, because %d and %#v would
// otherwise print the secret.
func (k Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.String()) }

// LogValue returns the ID and the algorithm of the key.
func (k Key) LogValue() slog.Value {
	return slog.GroupValue(slog.String("kid", k.ID), slog.String("alg", string(k.Algorithm)))
}

func unknownAlgorithm(alg Algorithm) error {
	return fmt.Errorf("token: unknown algorithm %q: want EdDSA, ES256 or HS256", alg)
}

// isName reports whether s has 1 to maxLen of the characters A-Z a-z 0-9 - _, which need
// no escaping in a header, a URL or a log.
func isName(s string, maxLen int) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return s != "" && len(s) <= maxLen
}
