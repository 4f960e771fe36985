package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/chassi-go/chassi/auth"
	"github.com/chassi-go/chassi/auth/store"
	"github.com/chassi-go/chassi/token"
)

const (
	// keyPollInterval is how soon a node notices what another one did to the keys.
	keyPollInterval = 3 * time.Second
	// keyAnnounce is how long a new key is known to all nodes before it signs.
	keyAnnounce = 10 * time.Second
	// keyCoolDown bounds how often unknown key ids make a node look again.
	keyCoolDown = time.Second
)

// loadKeys makes the stored keys those that sign and verify from now on. Without
// any it makes one; of several nodes that do so at once, one wins.
func (s *Service) loadKeys(ctx context.Context) error {
	now := s.options.Now()
	stored, err := s.store.SigningKeys(ctx, now)
	if err == nil && len(stored) == 0 {
		var first store.SigningKey
		if first, err = s.newKey(now, now); err == nil {
			stored, err = s.store.FirstSigningKey(ctx, first, now)
		}
	}
	if err != nil {
		return fmt.Errorf("signing keys: %w", err)
	}
	keys := make([]*token.Key, len(stored))
	for i, k := range stored {
		if keys[i], err = s.unseal(ctx, k); err != nil {
			return err
		}
	}
	return s.useKeys(keys)
}

func (s *Service) useKeys(keys []*token.Key) error {
	set, err := token.NewKeySet(keys...)
	if err != nil {
		return fmt.Errorf("signing keys: %w", err)
	}
	jwks, err := publicKeys(set)
	if err != nil {
		return err
	}
	s.signing.Store(set)
	s.jwks.Store(jwks)
	s.verifier.SetKeys(set)
	return nil
}

// pollKeys brings in what other nodes and the command line did.
func (s *Service) pollKeys(ctx context.Context) error { return s.loadKeys(ctx) }

// JWKS returns the public keys.
func (s *Service) JWKS(context.Context, *auth.JWKSRequest) (*auth.JWKSResponse, error) {
	return s.jwks.Load(), nil
}

// RotateKey makes a new signing key. It signs after a moment in which every node
// learns of it; the old keys verify until the last token they signed has expired.
// With revoke they end at once, and all tokens with them.
func (s *Service) RotateKey(ctx context.Context, revoke bool) (store.SigningKey, error) {
	now := s.options.Now()
	active, expire := now.Add(keyAnnounce), now.Add(keyAnnounce+s.config.Token.TTL+s.config.Token.Leeway)
	if revoke {
		active, expire = now, now
	}
	k, err := s.newKey(now, active)
	if err != nil {
		return k, err
	}
	if err := s.store.RotateSigningKey(ctx, k, expire); err != nil {
		return k, fmt.Errorf("rotate signing keys: %w", err)
	}
	return k, nil
}

// Keys lists the stored keys that have not expired.
func (s *Service) Keys(ctx context.Context) ([]store.SigningKey, error) {
	return s.store.SigningKeys(ctx, s.options.Now())
}

func (s *Service) newKey(now, active time.Time) (store.SigningKey, error) {
	key, err := token.GenerateKey(s.config.Token.Algorithm)
	if err != nil {
		return store.SigningKey{}, fmt.Errorf("make a signing key: %w", err)
	}
	k := store.SigningKey{ID: key.ID, Algorithm: string(key.Algorithm), CreatedAt: now, ActiveAt: active}
	plain, err := key.MarshalPrivate()
	if err != nil {
		return k, fmt.Errorf("make a signing key: %w", err)
	}
	return s.seal(k, plain)
}

// seal puts the private part into k, encrypted if there is a master key.
func (s *Service) seal(k store.SigningKey, plain []byte) (store.SigningKey, error) {
	if s.options.MasterKey == nil {
		k.Private, k.Sealed = plain, false
		return k, nil
	}
	var err error
	k.Private, err = token.Seal(s.options.MasterKey, plain, token.KeyAAD(k.ID, token.Algorithm(k.Algorithm)))
	k.Sealed = true
	if err != nil {
		return k, fmt.Errorf("seal signing key %s: %w", k.ID, err)
	}
	return k, nil
}

var errSealed = errors.New("is encrypted and no master key is given: set token.master_key to the one it was made with")

// unseal reads a stored key. One that is plain while there is a master key is
// stored again, sealed.
func (s *Service) unseal(ctx context.Context, k store.SigningKey) (*token.Key, error) {
	plain := k.Private
	switch {
	case k.Sealed && s.options.MasterKey == nil:
		return nil, fmt.Errorf("signing key %s %w", k.ID, errSealed)
	case k.Sealed:
		var err error
		if plain, err = token.Open(s.options.MasterKey, k.Private, token.KeyAAD(k.ID, token.Algorithm(k.Algorithm))); err != nil {
			return nil, fmt.Errorf("signing key %s cannot be decrypted, is token.master_key the one it was made with? %w", k.ID, err)
		}
	case s.options.MasterKey != nil:
		sealed, err := s.seal(k, plain)
		if err == nil {
			err = s.store.ReplacePrivate(ctx, k.ID, sealed.Private, true)
		}
		if err != nil {
			return nil, err
		}
	}
	key, err := token.ParseKey(k.ID, token.Algorithm(k.Algorithm), plain)
	if err != nil {
		return nil, fmt.Errorf("signing key %s: %w", k.ID, err)
	}
	key.CreatedAt, key.NotBefore, key.ExpiresAt = k.CreatedAt, k.ActiveAt, k.ExpiresAt
	return key, nil
}

func publicKeys(set *token.KeySet) (*auth.JWKSResponse, error) {
	jwks := new(auth.JWKSResponse)
	if err := json.Unmarshal(set.JWKS(), jwks); err != nil {
		return nil, fmt.Errorf("public keys: %w", err)
	}
	return jwks, nil
}

// coolDown is over at most once in keyCoolDown.
type coolDown struct {
	mu   sync.Mutex
	last time.Time
}

func (c *coolDown) over(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Sub(c.last) < keyCoolDown && !now.Before(c.last) {
		return false
	}
	c.last = now
	return true
}
