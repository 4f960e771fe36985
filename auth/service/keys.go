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
	// keyPollInterval is the interval at which a node reads the stored keys.
	keyPollInterval = 3 * time.Second
	// keyAnnounce is the delay between the creation of a key that replaces another one and its
	// first signature. The first key, and a key created with revoke, sign at once.
	keyAnnounce = 10 * time.Second
	// keyCoolDown is the minimum interval between reads caused by unknown key IDs.
	keyCoolDown = time.Second
)

// loadKeys replaces the keys in use with the stored ones, and loads the root secret. It creates a
// key and the root secret if they are missing; if several nodes find them missing concurrently,
// only one node creates them. A key that cannot be decrypted is not an error: it appears in
// [Service.KeyStatus], and is left out unless this process has decrypted it before.
func (s *Service) loadKeys(ctx context.Context) error {
	if err := s.keys.lock(ctx); err != nil {
		return err
	}
	defer s.keys.unlock()
	now := s.options.Now()
	ring, err := s.store.KeyRing(ctx)
	if err != nil {
		return fmt.Errorf("signing keys: %w", err)
	}
	if _, ok := rootOf(ring); !ok || len(ring.Live(now)) == 0 {
		ring, err = s.completeKeys(ctx, now)
		if errors.Is(err, ErrMasterKey) {
			return s.useKeys(ctx, nil, keyReport{text: err.Error()})
		}
		if err != nil {
			return fmt.Errorf("signing keys: %w", err)
		}
	}
	keys, report := s.openKeys(ring, now)
	s.useRoot(ring, &report)
	return s.useKeys(ctx, keys, report)
}

// completeKeys creates a signing key, which signs immediately, and the root secret, if they are
// missing, and returns the stored keys and secrets.
func (s *Service) completeKeys(ctx context.Context, now time.Time) (result store.KeyRing, err error) {
	err = s.store.ChangeKeys(ctx, func(ring *store.KeyRing) error {
		err := s.complete(ring, now)
		result = *ring
		return err
	})
	return result, err
}

func (s *Service) complete(ring *store.KeyRing, now time.Time) error {
	master, err := s.masters().establish(ring)
	if err != nil {
		return err
	}
	if len(ring.Live(now)) == 0 {
		k, err := s.newKey(master, now, now)
		if err != nil {
			return err
		}
		ring.Keys = append(ring.Keys, k)
	}
	if _, ok := rootOf(*ring); ok {
		return nil
	}
	root, err := s.newRoot(master)
	ring.Secrets = append(ring.Secrets, root)
	return err
}

// openKeys returns the decrypted keys of ring that have not expired, and a report about them. A key
// that can no longer be decrypted stays in use if this process has decrypted it before.
func (s *Service) openKeys(ring store.KeyRing, now time.Time) (keys []*token.Key, r keyReport) {
	r.unreadable = make(map[string]string)
	for _, k := range ring.Live(now) {
		key, err := s.parseKey(k)
		if held := s.keys.held[k.ID]; err != nil {
			r.problem(k, err, held != nil)
			key = held
		}
		if key == nil {
			continue
		}
		key.CreatedAt, key.NotBefore, key.ExpiresAt = k.CreatedAt, k.ActiveAt, k.ExpiresAt
		keys = append(keys, key)
		if !k.Sealed {
			r.plain++
		}
	}
	r.usable = len(keys)
	r.exposed = r.plain > 0 && s.options.MasterKey != nil
	return keys, r
}

func (s *Service) parseKey(k store.SigningKey) (*token.Key, error) {
	plain, err := s.masters().open(k)
	if err != nil {
		return nil, err
	}
	return token.ParseKey(k.ID, token.Algorithm(k.Algorithm), plain)
}

func (s *Service) useKeys(ctx context.Context, keys []*token.Key, report keyReport) error {
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
	s.keys.use(ctx, s.options.Logger, keys, report)
	return nil
}

// pollKeys is the background job that loads the changes made by other nodes and by commands such as
// authd key rotate.
func (s *Service) pollKeys(ctx context.Context) error { return s.loadKeys(ctx) }

// JWKS returns the public keys. It returns [auth.ErrUnavailable] if this node cannot use any of the
// stored keys, because clients would cache an empty set and reject every token.
func (s *Service) JWKS(context.Context, *auth.JWKSRequest) (*auth.JWKSResponse, error) {
	if err := s.anyKey(); err != nil {
		return nil, auth.ErrUnavailable.WithCause(err).WithRetryAfter(time.Second)
	}
	return s.jwks.Load(), nil
}

// RotateKey creates and returns a new signing key. The new key signs after ten seconds, within
// which every node loads it. After that, the old keys verify for the configured lifetime and leeway
// of tokens; tokens issued before the lifetime was lowered then become invalid early. If revoke is
// true, the new key signs at once and the old keys are deleted, which invalidates all tokens on
// each node, this one included, when it next loads the keys. The new key is encrypted with the
// master key of the stored keys, and not encrypted if they are not; if nothing is stored, it is
// encrypted with the current master key, if there is one. Without the master key of the stored keys
// RotateKey returns [ErrMasterKey] and changes nothing.
func (s *Service) RotateKey(ctx context.Context, revoke bool) (k store.SigningKey, err error) {
	now := s.options.Now()
	active, expire := now.Add(keyAnnounce), now.Add(keyAnnounce+s.config.Token.TTL+s.config.Token.Leeway)
	if revoke {
		active = now
	}
	err = s.store.ChangeKeys(ctx, func(ring *store.KeyRing) error {
		master, err := s.masters().establish(ring)
		if err != nil {
			return err
		}
		if k, err = s.newKey(master, now, active); err != nil {
			return err
		}
		if revoke { // effective at once, whatever the clocks show
			ring.Keys = nil
		}
		for i, old := range ring.Keys {
			if old.Live(expire) {
				ring.Keys[i].ExpiresAt = expire
			}
		}
		ring.Keys = append(ring.Keys, k)
		return nil
	})
	if err != nil {
		return k, fmt.Errorf("rotate signing keys: %w", err)
	}
	return k, nil
}

// RewrapKeys encrypts all stored signing keys and secrets with the current master key, in one
// transaction. It accepts keys and secrets that are stored without encryption or encrypted with the
// old or the current master key. It deletes expired keys that cannot be decrypted, and returns the
// number of remaining signing keys. If any other key or a secret cannot be decrypted, or no master
// key is configured, RewrapKeys returns an error and changes nothing.
func (s *Service) RewrapKeys(ctx context.Context) (n int, err error) {
	if s.options.MasterKey == nil {
		return 0, errors.New("token.master_key is not set; set it to the key that is to encrypt the signing keys")
	}
	now := s.options.Now()
	err = s.store.ChangeKeys(ctx, func(ring *store.KeyRing) error {
		_, err := s.masters().verify(*ring)
		if err == nil {
			err = s.rewrapSigningKeys(ring, now)
		}
		if err == nil {
			err = s.rewrapSecrets(ring)
		}
		if err == nil {
			ring.Check, err = newCheck(s.options.MasterKey)
		}
		n = len(ring.Keys)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("rewrap signing keys: %w", err)
	}
	return n, nil
}

func (s *Service) rewrapSigningKeys(ring *store.KeyRing, now time.Time) error {
	var keys []store.SigningKey
	for _, k := range ring.Keys {
		plain, err := s.masters().open(k)
		if err != nil && !k.Live(now) {
			continue
		}
		if err != nil {
			return fmt.Errorf("signing key %s: %w", k.ID, err)
		}
		if k, err = seal(s.options.MasterKey, k, plain); err != nil {
			return err
		}
		keys = append(keys, k)
	}
	ring.Keys = keys
	return nil
}

func (s *Service) rewrapSecrets(ring *store.KeyRing) error {
	for i, secret := range ring.Secrets {
		value, err := s.masters().openSecret(secret)
		if err != nil {
			return fmt.Errorf("secret %q: %w", secret.Name, err)
		}
		if ring.Secrets[i], err = sealSecret(s.options.MasterKey, secret, value); err != nil {
			return err
		}
	}
	return nil
}

// ResetKeys replaces all stored signing keys and secrets with a new signing key and a new root
// secret, encrypted with the master key, if there is one. It returns the new signing key. All
// tokens become invalid. ResetKeys is for keys that can no longer be decrypted; it returns an error
// if the stored keys can be decrypted or are not encrypted. In that case use [Service.RotateKey]
// with revoke.
func (s *Service) ResetKeys(ctx context.Context) (k store.SigningKey, err error) {
	now := s.options.Now()
	err = s.store.ChangeKeys(ctx, func(ring *store.KeyRing) error {
		if _, err := s.masters().verify(*ring); err == nil {
			return errors.New("the signing keys of this database can be used, so a reset is not needed; to revoke all tokens, run authd key revoke")
		}
		*ring = store.KeyRing{} // including the root secret, which restarts the counts of failed logins
		if err := s.complete(ring, now); err != nil {
			return err
		}
		k = ring.Keys[0]
		return nil
	})
	if err != nil {
		return k, fmt.Errorf("reset signing keys: %w", err)
	}
	return k, nil
}

// DeleteKeys deletes all signing keys of a database restored from a backup, because a key or a
// token may have been revoked since the backup. The first node that loads the keys creates a new
// one. Without the master key of the stored keys DeleteKeys returns [ErrMasterKey] and changes
// nothing, unless lost is true. If lost is true, DeleteKeys also deletes the secrets, and the next
// configured master key replaces the lost one.
func (s *Service) DeleteKeys(ctx context.Context, lost bool) error {
	err := s.store.ChangeKeys(ctx, func(ring *store.KeyRing) error {
		if lost {
			*ring = store.KeyRing{}
			return nil
		}
		_, err := s.masters().establish(ring)
		ring.Keys = nil
		return err
	})
	if err != nil {
		return fmt.Errorf("delete signing keys: %w", err)
	}
	return nil
}

// Keys returns the stored keys that have not expired, oldest first.
func (s *Service) Keys(ctx context.Context) ([]store.SigningKey, error) {
	ring, err := s.store.KeyRing(ctx)
	return ring.Live(s.options.Now()), err
}

func (s *Service) masters() masterKeys {
	return masterKeys{s.options.MasterKey, s.options.OldMasterKey}
}

func (s *Service) newKey(master []byte, now, active time.Time) (store.SigningKey, error) {
	key, err := token.GenerateKey(s.config.Token.Algorithm)
	if err != nil {
		return store.SigningKey{}, fmt.Errorf("create a signing key: %w", err)
	}
	k := store.SigningKey{ID: key.ID, Algorithm: string(key.Algorithm), CreatedAt: now, ActiveAt: active}
	plain, err := key.MarshalPrivate()
	if err != nil {
		return k, fmt.Errorf("create a signing key: %w", err)
	}
	return seal(master, k, plain)
}

func publicKeys(set *token.KeySet) (*auth.JWKSResponse, error) {
	jwks := new(auth.JWKSResponse)
	if err := json.Unmarshal(set.JWKS(), jwks); err != nil {
		return nil, fmt.Errorf("public keys: %w", err)
	}
	return jwks, nil
}

// coolDown limits the rate of key reads to one per keyCoolDown. It is safe for concurrent use.
type coolDown struct {
	mu   sync.Mutex
	last time.Time
}

// over reports whether keyCoolDown has passed, or the clock has been set back, since over last
// returned true.
func (c *coolDown) over(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Sub(c.last) < keyCoolDown && !now.Before(c.last) {
		return false
	}
	c.last = now
	return true
}
