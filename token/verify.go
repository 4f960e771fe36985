package token

import (
	"cmp"
	"encoding/base64"
	"math"
	"strings"
	"sync/atomic"
	"time"
)

// Default values of [Options].
const (
	DefaultMaxSize     = 4096 // bytes
	DefaultMaxLifetime = 24 * time.Hour
	DefaultCacheSize   = 10_000 // tokens, about 1.5 KB each
)

// Options configures a [Verifier]. Without an Issuer or an Audience, or with a Purpose that [Sign]
// does not accept, a Verifier rejects every token.
type Options struct {
	Issuer      string           // required value of iss
	Audience    string           // required value of aud, which must be a string and not a list
	Purpose     string           // required purpose of the token; empty means [Access]
	Leeway      time.Duration    // permitted difference between clocks; zero or less means none
	MaxLifetime time.Duration    // maximum exp - iat, rounded up to seconds; 0 means [DefaultMaxLifetime]
	MaxSize     int              // maximum bytes of a token; zero means [DefaultMaxSize]
	CacheSize   int              // maximum number of cached tokens; 0 means [DefaultCacheSize], a negative number none
	Now         func() time.Time // nil means time.Now
}

// Verifier verifies tokens and caches verified tokens, up to Options.CacheSize. It
// is safe for concurrent use.
type Verifier struct {
	options Options
	cache   *cache
	keys    atomic.Pointer[map[string]*Key] // by the header of the tokens that the key signs
}

// NewVerifier returns a verifier for tokens that the keys have signed. If keys is nil, it rejects
// every token until [Verifier.SetKeys] is called.
func NewVerifier(o Options, keys *KeySet) *Verifier {
	o.Purpose = cmp.Or(o.Purpose, Access)
	o.Leeway = max(o.Leeway, 0)
	o.MaxLifetime = cmp.Or(o.MaxLifetime, DefaultMaxLifetime)
	o.MaxSize = cmp.Or(o.MaxSize, DefaultMaxSize)
	o.CacheSize = max(cmp.Or(o.CacheSize, DefaultCacheSize), 0)
	if o.Now == nil {
		o.Now = time.Now
	}
	v := &Verifier{options: o, cache: newCache(o.CacheSize)}
	v.SetKeys(keys)
	return v
}

// SetKeys replaces the keys. After it has returned, tokens of removed keys are rejected, even if
// they are cached. Tokens of keys that are in the old and the new set remain cached.
func (v *Verifier) SetKeys(keys *KeySet) {
	byHeader := make(map[string]*Key)
	if keys != nil && checkPurpose(v.options.Purpose) == nil {
		for _, k := range keys.newest {
			byHeader[k.header(v.options.Purpose)] = k
		}
	}
	v.keys.Store(&byHeader)
}

// Verify returns the claims of a valid token. The claims are shared and must not be
// modified. For any other token, Verify returns an error that matches [ErrInvalid];
// [Reason] returns the reason. A cached token, or a token of an unknown key,
// requires neither decoding nor cryptography.
func (v *Verifier) Verify(token string) (*Claims, error) {
	if len(token) > v.options.MaxSize {
		return nil, tooLarge
	}
	now, keys := v.options.Now(), *v.keys.Load()
	sum := v.cache.sum(token)
	if e := v.cache.get(sum, token); e != nil {
		// The key is looked up again, so that no token is accepted after its key was
		// removed, even one verified while the keys were being replaced.
		if key := keys[e.header]; key != nil && key.mark == e.mark {
			if err := v.inTime(e.claims, key, now); err != nil {
				return nil, err
			}
			return e.claims, nil
		}
		v.cache.remove(sum, token)
	}
	return v.verify(token, sum, keys, now)
}

// verify verifies a token that is not cached, and caches it if it is valid. It does cheap checks
// first, and parses claims only after it has verified the signature.
func (v *Verifier) verify(token string, sum uint64, keys map[string]*Key, now time.Time) (*Claims, error) {
	dot := strings.IndexByte(token, '.')
	last := strings.LastIndexByte(token, '.')
	if dot < 0 || dot == last {
		return nil, malformed
	}
	key := keys[token[:dot]]
	if key == nil {
		return nil, unknownKey
	}
	signature, okSignature := decode(token[last+1:])
	body, okBody := decode(token[dot+1 : last])
	if !okSignature || !okBody {
		return nil, malformed
	}
	if !key.verify(token[:last], signature) {
		return nil, badSignature
	}
	claims, err := v.parseClaims(body)
	if err != nil {
		return nil, err
	}
	if err := v.inTime(claims, key, now); err != nil {
		return nil, err
	}
	v.cache.put(sum, newEntry(token, dot, key, claims))
	return claims, nil
}

func (v *Verifier) parseClaims(body []byte) (*Claims, error) {
	p, err := parsePayload(body)
	if err != nil {
		return nil, err
	}
	switch {
	case p.Issuer != v.options.Issuer:
		return nil, wrongIssuer
	case p.Audience != v.options.Audience:
		return nil, wrongAudience
	case float64(p.ExpiresAt-p.IssuedAt) > math.Ceil(v.options.MaxLifetime.Seconds()):
		return nil, tooLongLived
	}
	return p.claims(v.options.Purpose), nil
}

// inTime returns an error if the key has expired or the token is not valid at the time now.
func (v *Verifier) inTime(c *Claims, key *Key, now time.Time) error {
	leeway := v.options.Leeway
	switch {
	case key.expired(now):
		return unknownKey
	case !now.Before(c.ExpiresAt.Add(leeway)):
		return expired
	case now.Before(c.NotBefore.Add(-leeway)), now.Before(c.IssuedAt.Add(-leeway)):
		return notYetValid
	}
	return nil
}

// Evict removes a token from the cache. It does not revoke the token: the next call
// of Verify verifies the token in full.
func (v *Verifier) Evict(token string) { v.cache.remove(v.cache.sum(token), token) }

// Purge removes all tokens from the cache.
func (v *Verifier) Purge() { v.cache.purge() }

// decode decodes segment, and returns false if segment is not canonical base64url. It rejects
// line breaks, which package base64 ignores even in strict mode.
func decode(segment string) ([]byte, bool) {
	if strings.ContainsAny(segment, "\r\n") {
		return nil, false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(segment)
	return b, err == nil
}
