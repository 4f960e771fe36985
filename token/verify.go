package token

import (
	"cmp"
	"encoding/base64"
	"math"
	"strings"
	"sync/atomic"
	"time"
)

// Defaults of [Options].
const (
	DefaultMaxSize     = 4096 // bytes
	DefaultMaxLifetime = 24 * time.Hour
	DefaultCacheSize   = 10_000 // tokens, about 1.5 KB each
)

// Options say which tokens a [Verifier] takes. Without an Issuer or an Audience
// it takes none.
type Options struct {
	Issuer      string           // what iss must be, exactly
	Audience    string           // what aud must be, exactly: a string and not a list
	Purpose     string           // what the typ must stand for; empty means [Access]
	Leeway      time.Duration    // how much clocks may differ; zero or less means not at all
	MaxLifetime time.Duration    // from iat to exp, in seconds rounded up; zero means [DefaultMaxLifetime]
	MaxSize     int              // bytes of a token; zero means [DefaultMaxSize]
	CacheSize   int              // verified tokens remembered, at most; zero means [DefaultCacheSize], less than zero none
	Now         func() time.Time // nil means time.Now
}

// Verifier verifies tokens and remembers those it has verified, for as long as
// they are good. It is safe for concurrent use.
type Verifier struct {
	options Options
	cache   *cache
	keys    atomic.Pointer[map[string]*Key] // by the header that the key writes
}

// NewVerifier returns a verifier for the tokens of these keys; nil stands for
// none, until [Verifier.SetKeys].
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

// SetKeys replaces the keys. From its return on no token of a key that is gone
// is taken, remembered or not; tokens of keys that stay remain remembered.
func (v *Verifier) SetKeys(keys *KeySet) {
	byHeader := make(map[string]*Key)
	if keys != nil && checkPurpose(v.options.Purpose) == nil {
		for _, k := range keys.newest {
			byHeader[k.header(v.options.Purpose)] = k
		}
	}
	v.keys.Store(&byHeader)
}

// Verify returns the claims of a good token; they are shared and must not be
// changed. The error of any other token is [ErrInvalid], and its [Reason] tells
// more. A remembered token costs a look into memory and at the clock; one of an
// unknown key costs no more, and neither decoding nor cryptography.
func (v *Verifier) Verify(token string) (*Claims, error) {
	if len(token) > v.options.MaxSize {
		return nil, tooLarge
	}
	now, keys := v.options.Now(), *v.keys.Load()
	sum := v.cache.sum(token)
	if e := v.cache.get(sum, token); e != nil {
		// The key is looked up again, not trusted from memory: so nothing can
		// outlive a key, even what was verified while the keys were replaced.
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

// verify does the whole work, the cheap parts first. Nothing that the signature
// does not vouch for is parsed.
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

// inTime holds a token and its key against the clock.
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

// Forget removes a token from memory. It ends no token: the next Verify does
// the whole work again.
func (v *Verifier) Forget(token string) { v.cache.remove(v.cache.sum(token), token) }

// Purge removes all tokens from memory.
func (v *Verifier) Purge() { v.cache.purge() }

// decode reads base64url in its one spelling. Even in strict mode the library
// skips line breaks.
func decode(segment string) ([]byte, bool) {
	if strings.ContainsAny(segment, "\r\n") {
		return nil, false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(segment)
	return b, err == nil
}
