package token

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestKeyRoundTrip(t *testing.T) {
	t.Parallel()
	for _, alg := range algorithms {
		k := mustKey(t, alg)
		der, err := k.MarshalPrivate()
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseKey(k.ID, alg, der)
		if err != nil {
			t.Fatal(err)
		}
		text := mustSign(t, mustSet(t, k), sampleClaims())
		wantAccepted(t, NewVerifier(sampleOptions(), mustSet(t, again)), text)
		for _, other := range algorithms {
			if _, err := ParseKey(k.ID, other, der); other != alg && other != HS256 && err == nil {
				t.Errorf("a key for %s is taken for %s", alg, other)
			}
		}
	}
}

func TestParseKeyRefuses(t *testing.T) {
	t.Parallel()
	pkcs8 := func(key any, err error) []byte {
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	good, secret := pkcs8(generate(EdDSA)), make([]byte, 32)
	for name, tt := range map[string]struct {
		kid string
		alg Algorithm
		der []byte
	}{
		"short secret":   {"k", HS256, secret[:31]},
		"empty secret":   {"k", HS256, nil},
		"not DER":        {"k", EdDSA, []byte("-----BEGIN PRIVATE KEY-----")},
		"P-384":          {"k", ES256, pkcs8(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))},
		"RSA":            {"k", ES256, pkcs8(rsa.GenerateKey(rand.Reader, 2048))},
		"alg none":       {"k", "none", good},
		"alg empty":      {"k", "", good},
		"kid empty":      {"", EdDSA, good},
		"kid with quote": {`a"`, EdDSA, good},
		"kid with dot":   {"a.b", EdDSA, good},
		"kid too long":   {strings.Repeat("k", 65), EdDSA, good},
		"kid with NUL":   {"k\x00", EdDSA, good},
	} {
		if _, err := ParseKey(tt.kid, tt.alg, tt.der); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := GenerateKey("RS256"); err == nil {
		t.Error("GenerateKey takes RS256")
	}
}

func TestNewKeySetRefuses(t *testing.T) {
	t.Parallel()
	k, changed := mustKey(t, EdDSA), mustKey(t, EdDSA)
	changed.Algorithm = HS256
	for name, keys := range map[string][]*Key{"nil": {nil}, "zero": {{}}, "twice": {k, k}, "other algorithm": {changed}} {
		if _, err := NewKeySet(keys...); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// The set would publish the secret of an HS256 key as a public key.
func TestNewKeySetRefusesSecretAsPublicKey(t *testing.T) {
	t.Parallel()
	for _, alg := range []Algorithm{EdDSA, ES256} {
		k := mustKey(t, HS256)
		k.Algorithm = alg
		if _, err := NewKeySet(k); err == nil {
			t.Errorf("NewKeySet accepts a secret as a key for %s", alg)
		}
	}
}

func TestKeySetHoldsCopies(t *testing.T) {
	t.Parallel()
	k := mustKey(t, EdDSA)
	keys := mustSet(t, k)
	kid := k.ID
	k.ExpiresAt = noon.Add(-time.Hour)
	got, ok := keys.Lookup(kid)
	if !ok || !got.ExpiresAt.IsZero() {
		t.Errorf("Lookup = %v, %v", got, ok)
	}
	got.ExpiresAt = noon.Add(-time.Hour)
	wantAccepted(t, NewVerifier(sampleOptions(), keys), mustSign(t, keys, sampleClaims()))
	if _, ok := keys.Lookup("nobody"); ok {
		t.Error("an unknown ID is found")
	}
}

func TestKeyShowsNoSecret(t *testing.T) {
	t.Parallel()
	for _, alg := range algorithms {
		k := mustKey(t, alg)
		der, err := k.MarshalPrivate()
		if err != nil {
			t.Fatal(err)
		}
		var shown []string
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%b", "%t", "%c"} {
			for _, value := range []any{k, *k, []*Key{k}, struct{ K Key }{*k}, map[string]*Key{"k": k}} {
				shown = append(shown, fmt.Sprintf(verb, value))
			}
		}
		var log bytes.Buffer
		for _, logger := range []*slog.Logger{slog.New(slog.NewJSONHandler(&log, nil)), slog.New(slog.NewTextHandler(&log, nil))} {
			logger.Info("key", "pointer", k, "value", *k, "list", []Key{*k})
		}
		std, err1 := stdjson.Marshal(k)
		v2, err2 := json.Marshal(*k)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		shown = append(shown, log.String(), string(std), string(v2))
		if !strings.Contains(shown[0], k.ID) {
			t.Errorf("%q does not name the key", shown[0])
		}
		secret := der[len(der)-32:]
		for _, text := range shown {
			for _, form := range []string{
				string(secret), hex.EncodeToString(secret), base64.StdEncoding.EncodeToString(secret),
				fmt.Sprintf("%d", secret[:8])[1:12], fmt.Sprintf("%#v", secret)[8:24],
			} {
				if strings.Contains(strings.ToLower(text), strings.ToLower(form)) {
					t.Errorf("%s: secret shown in %q", alg, text)
				}
			}
		}
	}
}

// Verified with the library alone, as an independent verifier does.
func TestJWKS(t *testing.T) {
	t.Parallel()
	ed, es, hs := mustKey(t, EdDSA), mustKey(t, ES256), mustKey(t, HS256)
	ed.NotBefore = noon.Add(time.Second)
	keys := mustSet(t, hs, es, ed)
	var got struct {
		Keys []map[string]string `json:"keys"`
	}
	if err := stdjson.Unmarshal(keys.JWKS(), &got); err != nil {
		t.Fatal(err)
	}
	want := []map[string]string{
		{"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": ed.ID},
		{"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": es.ID},
	}
	for i, key := range got.Keys {
		for _, member := range []string{"x", "y"} {
			value, ok := key[member]
			if b, err := base64.RawURLEncoding.DecodeString(value); ok && (err != nil || len(b) != 32) {
				t.Errorf("key %d: %s has %d bytes, %v", i, member, len(b), err)
			}
			delete(key, member)
		}
	}
	if diff := cmp.Diff(want, got.Keys); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := string(mustSet(t, hs).JWKS()); got != `{"keys":[]}` {
		t.Errorf("a set with nothing public is published as %s", got)
	}
}

func TestTokensAreReadByTheLibrary(t *testing.T) {
	t.Parallel()
	for _, alg := range algorithms {
		k := mustKey(t, alg)
		parser := jwt.NewParser(jwt.WithValidMethods([]string{string(alg)}), jwt.WithIssuer("authd"), jwt.WithAudience("api"),
			jwt.WithExpirationRequired(), jwt.WithStrictDecoding(), jwt.WithTimeFunc(sampleOptions().Now))
		got, err := parser.Parse(mustSign(t, mustSet(t, k), sampleClaims()), func(*jwt.Token) (any, error) { return k.public, nil })
		if err != nil || got.Header["kid"] != k.ID || got.Header["typ"] != "at+jwt" {
			t.Errorf("%s: %+v, %v", alg, got, err)
		}
	}
}

func TestSeal(t *testing.T) {
	t.Parallel()
	master, other := make([]byte, 32), make([]byte, 32)
	other[31] = 1
	rapid.Check(t, func(t *rapid.T) {
		plaintext, aad := rapid.SliceOf(rapid.Byte()).Draw(t, "plaintext"), rapid.SliceOf(rapid.Byte()).Draw(t, "aad")
		sealed, err := Seal(master, plaintext, aad)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Open(master, sealed, aad); err != nil || !bytes.Equal(got, plaintext) {
			t.Fatalf("Open = %x, %v", got, err)
		}
		at := rapid.IntRange(0, len(sealed)-1).Draw(t, "at")
		changed := bytes.Clone(sealed)
		changed[at] ^= rapid.ByteRange(1, 255).Draw(t, "bits")
		for name, open := range map[string]func() ([]byte, error){
			"changed":      func() ([]byte, error) { return Open(master, changed, aad) },
			"truncated":    func() ([]byte, error) { return Open(master, sealed[:at], aad) },
			"other master": func() ([]byte, error) { return Open(other, sealed, aad) },
			"other aad":    func() ([]byte, error) { return Open(master, sealed, append([]byte{0}, aad...)) },
		} {
			if got, err := open(); !errors.Is(err, ErrSealed) {
				t.Fatalf("%s: Open = %x, %v", name, got, err)
			}
		}
	})
	if _, err := Seal(master[:16], nil, nil); err == nil {
		t.Error("a master key of 16 bytes is taken")
	}
	if _, err := Open(nil, []byte{1}, nil); err == nil {
		t.Error("no master key is taken")
	}
	if bytes.Equal(KeyAAD("a", "b"), KeyAAD("b", "a")) {
		t.Error("KeyAAD does not tell kid from algorithm")
	}
}

func TestT51ParseMasterKey(t *testing.T) {
	t.Parallel()
	want := []byte("\xfb\xff\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e")
	for _, text := range []string{
		hex.EncodeToString(want), strings.ToUpper(hex.EncodeToString(want)), base64.StdEncoding.EncodeToString(want),
		base64.RawStdEncoding.EncodeToString(want), base64.URLEncoding.EncodeToString(want), base64.RawURLEncoding.EncodeToString(want),
		" " + hex.EncodeToString(want) + "\n",
	} {
		if got, err := ParseMasterKey(text); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%q: %x, %v", text, got, err)
		}
	}
	for _, text := range []string{
		"", "secret", hex.EncodeToString(want[:31]), hex.EncodeToString(want) + "00", strings.Repeat("0", 64), strings.Repeat("A", 43) + "=",
		strings.Repeat("ab", 32), strings.Repeat("0123456789abcdef", 4), "correct horse battery staple ok!",
	} {
		if _, err := ParseMasterKey(text); err == nil {
			t.Errorf("%q is taken", text)
		} else if text != "" && strings.Contains(err.Error(), text) {
			t.Errorf("the error quotes the key: %v", err)
		}
	}
}

func FuzzParseKey(f *testing.F) {
	for _, alg := range algorithms {
		der, err := mustKey(f, alg).MarshalPrivate()
		if err != nil {
			f.Fatal(err)
		}
		f.Add("kid", string(alg), der)
	}
	f.Fuzz(func(t *testing.T, kid, alg string, der []byte) {
		k, err := ParseKey(kid, Algorithm(alg), der)
		if err != nil {
			return
		}
		wantAccepted(t, NewVerifier(sampleOptions(), mustSet(t, k)), mustSign(t, mustSet(t, k), sampleClaims()))
	})
}
