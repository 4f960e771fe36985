package service

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/chassi-go/chassi/auth/store"
	"github.com/chassi-go/chassi/token"
)

const (
	rootSecret     = "root" // its name in the database
	rootSecretSize = 32
)

// loadRoot reads the secret from which all others of this installation are derived, and
// makes it if there is none; of several nodes that do so at once, one wins. It is stored as
// the signing keys are: sealed if there is a master key, and sealed when one is given
// later.
func (s *Service) loadRoot(ctx context.Context) error {
	stored, err := s.store.Secret(ctx, rootSecret)
	if errors.Is(err, store.ErrNotFound) {
		stored, err = s.makeRoot(ctx)
	}
	if err == nil {
		s.root, err = s.openRoot(ctx, stored)
	}
	if err != nil {
		return fmt.Errorf("secret %q: %w", rootSecret, err)
	}
	s.lockoutKey = s.derive("lockout")
	return nil
}

func (s *Service) makeRoot(ctx context.Context) (store.Secret, error) {
	value := make([]byte, rootSecretSize)
	_, _ = rand.Read(value) // never fails, says crypto/rand
	made, err := s.sealRoot(value)
	if err != nil {
		return made, err
	}
	return s.store.FirstSecret(ctx, made)
}

func (s *Service) sealRoot(value []byte) (store.Secret, error) {
	secret := store.Secret{Name: rootSecret, Value: value, CreatedAt: s.options.Now()}
	if s.options.MasterKey == nil {
		return secret, nil
	}
	var err error
	secret.Sealed = true
	secret.Value, err = token.Seal(s.options.MasterKey, value, token.SecretAAD(rootSecret))
	return secret, err
}

// openRoot returns the value of a stored secret. One that is plain while there is a master
// key is stored again, sealed.
func (s *Service) openRoot(ctx context.Context, stored store.Secret) ([]byte, error) {
	switch {
	case stored.Sealed && s.options.MasterKey == nil:
		return nil, errSealed
	case stored.Sealed:
		value, err := token.Open(s.options.MasterKey, stored.Value, token.SecretAAD(rootSecret))
		if err != nil {
			return nil, fmt.Errorf("cannot be decrypted, is token.master_key the one it was made with? %w", err)
		}
		return value, nil
	case s.options.MasterKey != nil:
		sealed, err := s.sealRoot(stored.Value)
		if err == nil {
			err = s.store.ReplaceSecret(ctx, sealed)
		}
		return stored.Value, err
	}
	return stored.Value, nil
}

// derive returns 32 bytes for one purpose, from which neither the root secret nor
// those for other purposes can be told.
func (s *Service) derive(purpose string) []byte {
	mac := hmac.New(sha256.New, s.root)
	mac.Write([]byte(purpose))
	return mac.Sum(nil)
}

// Secret returns 32 bytes for the given purpose, the same on all nodes and after a
// restart. It fails before Start.
func (s *Service) Secret(purpose string) ([]byte, error) {
	if s.root == nil {
		return nil, errors.New("auth: the root secret has not been loaded: start the service first")
	}
	return s.derive(purpose), nil
}
