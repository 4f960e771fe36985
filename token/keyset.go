package token

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"
)

// KeySet is the keys of one moment. It does not change and is safe for
// concurrent use.
type KeySet struct {
	byID   map[string]*Key
	newest []*Key // by NotBefore, then CreatedAt, then ID; the latest first
	jwks   []byte
}

// NewKeySet makes a set of copies of the keys. A set of none is allowed: it
// signs nothing and verifies nothing.
func NewKeySet(keys ...*Key) (*KeySet, error) {
	s := &KeySet{byID: make(map[string]*Key, len(keys))}
	for _, k := range keys {
		if k == nil {
			return nil, errors.New("token: a key of the set is nil")
		}
		// Made anew, so that fields set by hand are held against the material.
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

// Lookup returns a copy of the key with that ID.
func (s *KeySet) Lookup(kid string) (*Key, bool) {
	k := s.byID[kid]
	if k == nil {
		return nil, false
	}
	c := *k
	return &c, true
}

// SigningKey returns the ID of the key that signs at a given time: the newest
// that has begun. A key that has a successor signs only until that begins, so
// a new key can be spread to every verifier before it is used. If none has
// begun, as when another machine's clock made the key, the one that begins
// first signs. There is none when all have expired.
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

// JWKS returns the public keys as a JSON Web Key Set (RFC 7517 section 5, RFC
// 8037 section 2), the newest first. Keys for HS256 are left out: they have
// nothing public. The set has no clock: who serves it leaves out what expired by
// making a new set.
func (s *KeySet) JWKS() []byte { return bytes.Clone(s.jwks) }
