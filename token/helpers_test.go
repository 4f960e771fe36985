package token

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

var algorithms = []Algorithm{EdDSA, ES256, HS256}

// noon is when the tokens of the tests are issued.
var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

func mustKey(tb testing.TB, alg Algorithm) *Key {
	tb.Helper()
	k, err := GenerateKey(alg)
	if err != nil {
		tb.Fatal(err)
	}
	k.CreatedAt, k.NotBefore = noon, noon
	return k
}

func mustSet(tb testing.TB, keys ...*Key) *KeySet {
	tb.Helper()
	s, err := NewKeySet(keys...)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func mustSign(tb testing.TB, keys *KeySet, c Claims) string {
	tb.Helper()
	text, err := Sign(keys, c)
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

func sampleClaims() Claims {
	return Claims{
		Issuer: "authd", Subject: "0198f0c2-7b1e", Audience: "api", ID: "3q2-7wAAAAAAAAAAAAAAAA", Email: "ada@example.org",
		IssuedAt: noon, NotBefore: noon, ExpiresAt: noon.Add(time.Hour), Purpose: Access, Generation: 7,
	}
}

// sampleOptions take sampleClaims one minute after they were issued.
func sampleOptions() Options {
	return Options{Issuer: "authd", Audience: "api", Now: func() time.Time { return noon.Add(time.Minute) }}
}

// forge signs any header and any payload with a key.
func forge(tb testing.TB, k *Key, header, body string) string {
	tb.Helper()
	text, err := k.sign(encode([]byte(header)) + "." + encode([]byte(body)))
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

func goodHeader(k *Key) string {
	return fmt.Sprintf(`{"alg":"%s","kid":"%s","typ":"at+jwt"}`, k.Algorithm, k.ID)
}

const goodBody = `{"iss":"authd","sub":"s","aud":"api","jti":"j","iat":1777896000,"nbf":1777896000,"exp":1777899600,"gen":0}`

// wantRefused fails unless the token is refused, twice, so that a refused token
// cannot have got into the cache.
func wantRefused(tb testing.TB, v *Verifier, text string, want refusal) {
	tb.Helper()
	for range 2 {
		claims, err := v.Verify(text)
		if claims != nil || !errors.Is(err, ErrInvalid) {
			tb.Fatalf("Verify = %v, %v; want ErrInvalid", claims, err)
		}
		if got := Reason(err); want != "" && got != string(want) {
			tb.Errorf("reason %q, want %q", got, want)
		}
	}
}

func wantAccepted(tb testing.TB, v *Verifier, text string) *Claims {
	tb.Helper()
	claims, err := v.Verify(text)
	if err != nil {
		tb.Fatal(err)
	}
	return claims
}
