package token

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"
)

// KeySet is an immutable set of keys. It is safe for concurrent use.
type KeySet struct {
	byID   map[string]*Key
	newest []*Key // sorted by NotBefore, then CreatedAt, then ID, the latest first
	jwks   []byte
}

// NewKeySet returns a set of copies of the keys. It returns an error if a key is nil or invalid,
// or if two keys have the same ID. An empty set neither signs nor verifies.
func NewKeySet(keys ...*Key) (*KeySet, error) {
	s := &KeySet{byID: make(map[string]*Key, len(keys))}
	for _, k := range keys {
		if k == nil {
			return nil, errors.New("token: a key of the set is nil")
		}
		// newKey checks exported fields, which the caller may have changed, against the key material.
		c, err := newKey(k.ID, k.Algorithm, k.private)
		if err != nil {
			return nil, err
		}
		if s.byID[c.ID] != nil {
			return nil, fmt.Errorf("token: two keys have the ID %s", c.ID)
		}
		c.CreatedAt, c.NotBefore, c.ExpiresAt = k.CreatedAt, k.NotBefore, k.ExpiresAt
		s.byID[c.ID] = c
		s.newest = append(s.newest, c)
	}
	slices.SortFunc(s.newest, newerFirst)
	var err error
	s.jwks, err = marshalJWKS(s.newest)
	return s, err
}

func newerFirst(a, b *Key) int {
	return cmp.Or(b.NotBefore.Compare(a.NotBefore), b.CreatedAt.Compare(a.CreatedAt), cmp.Compare(b.ID, a.ID))
}

// Lookup returns a copy of the key with the given ID, or false if the set does not contain it.
func (s *KeySet) Lookup(kid string) (*Key, bool) {
	k := s.byID[kid]
	if k == nil {
		return nil, false
	}
	c := *k
	return &c, true
}

// SigningKey returns the ID of the key that signs at a given time: the newest active key that
// has no ExpiresAt, or else the newest active key that has not expired. Until a new key becomes
// active, the previous key signs, so that the new key can be distributed to every verifier
// before its first use. If no such key is active yet, for example because the key was created on a
// machine whose clock is ahead, SigningKey chooses the key that becomes active first. It returns
// false if the set is empty or all keys have expired.
func (s *KeySet) SigningKey(at time.Time) (kid string, ok bool) {
	k := s.signingKey(at)
	if k == nil {
		return "", false
	}
	return k.ID, true
}

func (s *KeySet) signingKey(at time.Time) *Key {
	var retired, early *Key
	for _, k := range s.newest {
		switch {
		case k.expired(at):
		case k.NotBefore.After(at):
			early = k
		case k.ExpiresAt.IsZero():
			return k
		case retired == nil:
			retired = k
		}
	}
	return cmp.Or(retired, early)
}

// JWKS returns the public keys as a JSON Web Key Set (RFC 7517 section 5, RFC 8037 section 2),
// the newest first. It omits HS256 keys, which have no public key. It includes expired keys; to
// omit them, create a set that does not contain them.
func (s *KeySet) JWKS() []byte { return bytes.Clone(s.jwks) }
