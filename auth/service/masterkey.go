package service

import (
	"errors"
	"fmt"
	"slices"

	"github.com/chassi-go/chassi/auth/store"
	"github.com/chassi-go/chassi/token"
)

// ErrMasterKey is wrapped by the errors of [Service.RotateKey], [Service.RewrapKeys] and
// [Service.DeleteKeys] if no configured master key decrypts the stored signing keys. The keys are
// then left unchanged.
var ErrMasterKey = errors.New("the signing keys of this database are encrypted with another master key")

var (
	errNoMasterKey    = fmt.Errorf("%w: token.master_key is not set", ErrMasterKey)
	errWrongMasterKey = fmt.Errorf("%w: token.master_key does not decrypt them", ErrMasterKey)
	errBothWrong      = fmt.Errorf("%w: neither token.master_key nor token.old_master_key decrypts them", ErrMasterKey)
)

// masterKeys contains the current master key and, while it is being changed, the old one.
// Either may be nil.
type masterKeys struct{ current, old []byte }

// given returns the keys that are set, the current one first.
func (m masterKeys) given() (keys [][]byte) {
	for _, k := range [][]byte{m.current, m.old} {
		if k != nil {
			keys = append(keys, k)
		}
	}
	return keys
}

// verify returns the master key of m with which the stored keys are encrypted, or nil if they are
// stored without encryption. It returns [ErrMasterKey] if no master key of m decrypts them.
func (m masterKeys) verify(ring store.KeyRing) ([]byte, error) {
	if !sealed(ring) {
		return nil, nil
	}
	for _, master := range m.given() {
		if opensRing(master, ring) {
			return master, nil
		}
	}
	switch {
	case m.current == nil && m.old == nil:
		return nil, errNoMasterKey
	case m.old != nil:
		return nil, errBothWrong
	}
	return nil, errWrongMasterKey
}

// establish returns the master key for new keys and secrets in ring: the result of verify or, if
// ring is empty, the current master key of m. If ring has no check value, establish adds one for the
// returned master key, unless that is nil.
func (m masterKeys) establish(ring *store.KeyRing) (master []byte, err error) {
	master, err = m.verify(*ring)
	if err == nil && len(ring.Keys)+len(ring.Secrets) == 0 && ring.Check == nil {
		master = m.current
	}
	if err == nil && master != nil && ring.Check == nil {
		ring.Check, err = newCheck(master)
	}
	return master, err
}

func sealed(ring store.KeyRing) bool {
	if ring.Check != nil {
		return true
	}
	return slices.ContainsFunc(ring.Keys, func(k store.SigningKey) bool { return k.Sealed }) ||
		slices.ContainsFunc(ring.Secrets, func(s store.Secret) bool { return s.Sealed })
}

// opensRing reports whether the keys are encrypted with master: whether master decrypts the check
// value or, if the database has no check value, any key or secret.
func opensRing(master []byte, ring store.KeyRing) bool {
	if ring.Check != nil {
		_, err := token.Open(master, ring.Check, checkAAD)
		return err == nil
	}
	for _, k := range ring.Keys {
		if _, err := token.Open(master, k.Private, keyAAD(k)); k.Sealed && err == nil {
			return true
		}
	}
	for _, s := range ring.Secrets {
		if _, err := token.Open(master, s.Value, token.SecretAAD(s.Name)); s.Sealed && err == nil {
			return true
		}
	}
	return false
}

// checkAAD is the additional authenticated data of the check value. It prevents an encrypted key
// from being accepted as a check value.
var checkAAD = []byte("master key check")

func newCheck(master []byte) ([]byte, error) {
	check, err := token.Seal(master, []byte("authd"), checkAAD)
	if err != nil {
		return nil, fmt.Errorf("seal the check value of the master key: %w", err)
	}
	return check, nil
}

// open returns the private part of a stored key, decrypted with a master key of m if it is sealed.
func (m masterKeys) open(k store.SigningKey) ([]byte, error) {
	return m.openValue(k.Private, k.Sealed, keyAAD(k))
}

// openValue returns the plaintext of a stored value, which it decrypts with a master key of m if
// sealed is true. It returns an error if no master key of m decrypts the value.
func (m masterKeys) openValue(value []byte, sealed bool, aad []byte) ([]byte, error) {
	if !sealed {
		return value, nil
	}
	for _, master := range m.given() {
		if plain, err := token.Open(master, value, aad); err == nil {
			return plain, nil
		}
	}
	switch {
	case m.current == nil && m.old == nil:
		return nil, errors.New("is encrypted, and token.master_key is not set")
	case m.old != nil:
		return nil, errors.New("cannot be decrypted: it was encrypted with neither token.master_key nor token.old_master_key, or its row was changed")
	}
	return nil, errors.New("cannot be decrypted: it was encrypted with a master key other than token.master_key, or its row was changed")
}

func keyAAD(k store.SigningKey) []byte { return token.KeyAAD(k.ID, token.Algorithm(k.Algorithm)) }

// seal returns k with plain as its private part, encrypted unless master is nil.
func seal(master []byte, k store.SigningKey, plain []byte) (store.SigningKey, error) {
	if master == nil {
		k.Private, k.Sealed = plain, false
		return k, nil
	}
	private, err := token.Seal(master, plain, keyAAD(k))
	if err != nil {
		return k, fmt.Errorf("seal signing key %s: %w", k.ID, err)
	}
	k.Private, k.Sealed = private, true
	return k, nil
}
