package service

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/chassi-go/chassi/auth/store"
	"github.com/chassi-go/chassi/token"
)

const (
	rootSecret     = "root" // the name of the root secret in the database
	rootSecretSize = 32
)

// secrets contains the root secret of this installation, which is stored with the signing keys (see
// [store.KeyRing]), and the lockout secret, which is derived from the root secret. Both are the
// same on all nodes.
type secrets struct{ root, lockout []byte }

func newSecrets(root []byte) *secrets { return &secrets{root: root, lockout: derive(root, "lockout")} }

// derive returns 32 bytes for the given purpose, from which neither the root secret nor the bytes
// for other purposes can be derived.
func derive(root []byte, purpose string) []byte {
	mac := hmac.New(sha256.New, root)
	mac.Write([]byte(purpose))
	return mac.Sum(nil)
}

func rootOf(ring store.KeyRing) (secret store.Secret, ok bool) {
	i := slices.IndexFunc(ring.Secrets, func(s store.Secret) bool { return s.Name == rootSecret })
	if i < 0 {
		return secret, false
	}
	return ring.Secrets[i], true
}

// newRoot returns a new root secret, encrypted unless master is nil.
func (s *Service) newRoot(master []byte) (store.Secret, error) {
	value := make([]byte, rootSecretSize)
	_, _ = rand.Read(value) // documented never to fail
	return sealSecret(master, store.Secret{Name: rootSecret, CreatedAt: s.options.Now()}, value)
}

// sealSecret returns secret with the given value, encrypted unless master is nil.
func sealSecret(master []byte, secret store.Secret, value []byte) (store.Secret, error) {
	secret.Value, secret.Sealed = value, master != nil
	if master == nil {
		return secret, nil
	}
	var err error
	if secret.Value, err = token.Seal(master, value, token.SecretAAD(secret.Name)); err != nil {
		return secret, fmt.Errorf("seal the secret %q: %w", secret.Name, err)
	}
	return secret, nil
}

func (m masterKeys) openSecret(secret store.Secret) ([]byte, error) {
	return m.openValue(secret.Value, secret.Sealed, token.SecretAAD(secret.Name))
}

// useRoot loads the root secret of ring. If the secret cannot be decrypted, useRoot adds a problem
// to r and keeps the root secret that was loaded before, if any.
func (s *Service) useRoot(ring store.KeyRing, r *keyReport) {
	secret, ok := rootOf(ring)
	if !ok {
		return
	}
	root, err := s.masters().openSecret(secret)
	if err != nil {
		r.add(fmt.Sprintf("secret %q: %v", rootSecret, err))
		return
	}
	r.exposed = r.exposed || !secret.Sealed && s.options.MasterKey != nil
	s.root.Store(newSecrets(root))
}

// Secret returns 32 bytes derived from the root secret for the given purpose. They are the same on
// all nodes and after a restart. Secret returns an error until the root secret has been loaded.
func (s *Service) Secret(purpose string) ([]byte, error) {
	known := s.root.Load()
	if known == nil {
		return nil, errors.New("auth: the root secret is not loaded: " + s.KeyStatus().Text)
	}
	return derive(known.root, purpose), nil
}
