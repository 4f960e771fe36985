package token

import (
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"
)

// The forms that the attacks below change one thing of are good themselves.
func TestForgedTokensAreWellFormed(t *testing.T) {
	t.Parallel()
	for _, alg := range algorithms {
		k := mustKey(t, alg)
		wantAccepted(t, NewVerifier(sampleOptions(), mustSet(t, k)), forge(t, k, goodHeader(k), goodBody))
	}
}

func TestT01AlgNone(t *testing.T) {
	t.Parallel()
	for _, alg := range algorithms {
		k := mustKey(t, alg)
		v := NewVerifier(sampleOptions(), mustSet(t, k))
		for _, none := range []string{"none", "None", "NONE", "nOnE", "", " none"} {
			header := fmt.Sprintf(`{"alg":"%s","kid":"%s","typ":"at+jwt"}`, none, k.ID)
			signed := forge(t, k, header, goodBody)
			wantRefused(t, v, signed, unknownKey)
			wantRefused(t, v, signed[:strings.LastIndexByte(signed, '.')+1], unknownKey)
		}
		good := forge(t, k, goodHeader(k), goodBody)
		wantRefused(t, v, good[:strings.LastIndexByte(good, '.')+1], badSignature)
		wantRefused(t, v, good[:strings.LastIndexByte(good, '.')], "")
	}
}

func TestT02PublicKeyAsSecret(t *testing.T) {
	t.Parallel()
	for _, alg := range []Algorithm{EdDSA, ES256} {
		k := mustKey(t, alg)
		keys := mustSet(t, k)
		v := NewVerifier(sampleOptions(), keys)
		der, err := x509.MarshalPKIXPublicKey(k.public)
		if err != nil {
			t.Fatal(err)
		}
		secrets := map[string][]byte{
			"DER": der, "PEM": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), "JWKS": keys.JWKS(), "empty": nil,
		}
		for name, secret := range secrets {
			for _, header := range []string{strings.Replace(goodHeader(k), string(alg), "HS256", 1), goodHeader(k)} {
				input := encode([]byte(header)) + "." + encode([]byte(goodBody))
				mac := hmac.New(sha256.New, secret)
				mac.Write([]byte(input))
				t.Run(string(alg)+" "+name, func(t *testing.T) {
					t.Parallel()
					wantRefused(t, v, input+"."+encode(mac.Sum(nil)), "")
				})
			}
		}
	}
}

func TestT03OtherAlgorithm(t *testing.T) {
	t.Parallel()
	for _, alg := range algorithms {
		k := mustKey(t, alg)
		v := NewVerifier(sampleOptions(), mustSet(t, k))
		for _, other := range []string{"EdDSA", "Ed25519", "ES256", "ES384", "HS256", "HS512", "RS256", "PS256", "eddsa", "es256"} {
			if other != string(alg) {
				wantRefused(t, v, forge(t, k, fmt.Sprintf(`{"alg":"%s","kid":"%s","typ":"at+jwt"}`, other, k.ID), goodBody), unknownKey)
			}
		}
		// A key of another algorithm that goes by the same ID.
		for _, other := range algorithms {
			if other != alg {
				unknown := mustKey(t, other)
				unknown.ID = k.ID
				wantRefused(t, v, forge(t, unknown, goodHeader(unknown), goodBody), unknownKey)
			}
		}
	}
}

func TestT04KeyInHeader(t *testing.T) {
	t.Parallel()
	k, attacker := mustKey(t, EdDSA), mustKey(t, EdDSA)
	v := NewVerifier(sampleOptions(), mustSet(t, k))
	public := string(mustSet(t, attacker).JWKS())
	for _, member := range []string{
		`"jku":"http://127.0.0.1:1/jwks.json"`, `"x5u":"http://127.0.0.1:1/cert"`, `"x5c":["AAAA"]`, `"jwk":` + public,
	} {
		header := strings.Replace(goodHeader(k), "}", ","+member+"}", 1)
		wantRefused(t, v, forge(t, attacker, header, goodBody), unknownKey)
		// Ours never have one, so even our own signature does not help.
		wantRefused(t, v, forge(t, k, header, goodBody), unknownKey)
	}
	wantRefused(t, v, forge(t, attacker, goodHeader(k), goodBody), badSignature)
}

func TestT05HostileKeyID(t *testing.T) {
	t.Parallel()
	k := mustKey(t, EdDSA)
	v := NewVerifier(sampleOptions(), mustSet(t, k))
	for name, kid := range map[string]string{
		"path": `"../../dev/null"`, "SQL": `"' OR 1=1 --"`, "NUL": `"\u0000"`, "number": `1`, "null": `null`, "array": `["` + k.ID + `"]`,
		"empty": `""`, "URL": `"http://127.0.0.1:1/"`, "ours and NUL": `"` + k.ID + `\u0000"`, "long": `"` + strings.Repeat("k", 2000) + `"`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantRefused(t, v, forge(t, k, `{"alg":"EdDSA","kid":`+kid+`,"typ":"at+jwt"}`, goodBody), unknownKey)
		})
	}
	wantRefused(t, v, forge(t, k, `{"alg":"EdDSA","typ":"at+jwt"}`, goodBody), unknownKey)
	huge := encode([]byte(`{"alg":"EdDSA","kid":"`+strings.Repeat("k", 10<<10)+`"}`)) + "." + encode([]byte(goodBody)) + ".AAAA"
	wantRefused(t, v, huge, tooLarge)
	_, err := v.Verify(huge)
	if text := fmt.Sprintf("%+v", err); strings.Contains(text, "kkk") {
		t.Errorf("the error quotes the kid: %.80s", text)
	}
}

// A token of an unknown key costs no decoding and no cryptography: it takes no
// memory at all.
func TestT06RandomKeyIDs(t *testing.T) {
	k := mustKey(t, EdDSA)
	v := NewVerifier(sampleOptions(), mustSet(t, k))
	tokens := make([]string, 1000)
	for i := range tokens {
		header := fmt.Sprintf(`{"alg":"EdDSA","kid":"%d","typ":"at+jwt"}`, rand.Uint64())
		tokens[i] = encode([]byte(header)) + "." + encode([]byte(goodBody)) + "." + encode(make([]byte, 64))
	}
	i := 0
	if got := testing.AllocsPerRun(len(tokens), func() { _, _ = v.Verify(tokens[i%len(tokens)]); i++ }); got != 0 {
		t.Errorf("refusing takes %v allocations, want none", got)
	}
	if got := v.cache.len(); got != 0 {
		t.Errorf("%d invalid tokens are cached", got)
	}
}

func TestT07HeaderMembers(t *testing.T) {
	t.Parallel()
	k := mustKey(t, EdDSA)
	v := NewVerifier(sampleOptions(), mustSet(t, k))
	good := goodHeader(k)
	for name, header := range map[string]string{
		"crit":           strings.Replace(good, "}", `,"crit":["exp"]}`, 1),
		"b64":            strings.Replace(good, "}", `,"b64":false,"crit":["b64"]}`, 1),
		"duplicate alg":  strings.Replace(good, "{", `{"alg":"none",`, 1),
		"duplicate kid":  strings.Replace(good, "}", `,"kid":"`+k.ID+`"}`, 1),
		"upper case":     strings.Replace(good, `"alg"`, `"ALG"`, 1),
		"white space":    strings.Replace(good, "{", "{ ", 1),
		"trailing data":  good + "{}",
		"zip":            strings.Replace(good, "}", `,"zip":"DEF"}`, 1),
		"cty":            strings.Replace(good, "}", `,"cty":"JWT"}`, 1),
		"array":          "[" + good + "]",
		"not JSON":       "alg=EdDSA",
		"empty":          "",
		"null":           "null",
		"nested 10,000x": strings.Repeat("[", 1000),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantRefused(t, v, forge(t, k, header, goodBody), unknownKey)
		})
	}
}

func TestT08OtherPurpose(t *testing.T) {
	t.Parallel()
	keys := mustSet(t, mustKey(t, EdDSA))
	for _, issued := range []string{Access, "refresh", "reset", "verify", "mfa"} {
		c := sampleClaims()
		c.Purpose = issued
		text := mustSign(t, keys, c)
		for _, taken := range []string{Access, "refresh", "reset", "verify", "mfa", "at", "Access", `x","typ":"at+jwt`} {
			o := sampleOptions()
			o.Purpose = taken
			if v := NewVerifier(o, keys); issued == taken {
				wantAccepted(t, v, text)
			} else {
				wantRefused(t, v, text, unknownKey)
			}
		}
	}
}

func TestT11Size(t *testing.T) {
	t.Parallel()
	k := mustKey(t, EdDSA)
	v := NewVerifier(sampleOptions(), mustSet(t, k))
	good := forge(t, k, goodHeader(k), goodBody)
	for name, tt := range map[string]struct {
		text string
		want refusal
	}{
		"a megabyte of dots": {strings.Repeat(".", 1<<20), tooLarge},
		"4096 dots":          {strings.Repeat(".", 4096), unknownKey},
		"64 kB token":        {good + strings.Repeat("A", 64<<10), tooLarge},
		"one byte over":      {strings.Repeat("A", DefaultMaxSize+1), tooLarge},
		"at the limit":       {strings.Repeat("A", DefaultMaxSize), malformed},
		"empty":              {"", malformed},
		"one dot":            {"a.b", malformed},
		"two dots":           {"..", unknownKey},
		"four parts":         {good + ".AAAA", malformed},
		"JWE":                {good + ".AAAA.AAAA", malformed},
		"leading dot":        {"." + good, unknownKey},
		"invalid UTF-8":      {"\xff.\xff.\xff", unknownKey},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantRefused(t, v, tt.text, tt.want)
		})
	}
}

const b64Alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

func TestT12OneSpelling(t *testing.T) {
	t.Parallel()
	for _, alg := range algorithms {
		k := mustKey(t, alg)
		good := forge(t, k, goodHeader(k), goodBody)
		parts := strings.Split(good, ".")
		last := good[len(good)-1]
		tests := map[string]string{
			"line break at the end":   good + "\n",
			"line break in signature": good[:len(good)-4] + "\n" + good[len(good)-4:],
			"line break in payload":   parts[0] + "." + parts[1][:8] + "\r\n" + parts[1][8:] + "." + parts[2],
			"space before":            " " + good,
			"space after":             good + " ",
			"Bearer":                  "Bearer " + good,
			"padding":                 good + "=",
			"double padding":          good + "==",
			"padded header":           parts[0] + "=." + parts[1] + "." + parts[2],
			"standard alphabet":       base64.RawStdEncoding.EncodeToString([]byte(goodHeader(k))) + "+." + parts[1] + "." + parts[2],
			"NUL after":               good + "\x00",
			"signature twice":         good + parts[2],
		}
		for _, c := range b64Alphabet { // trailing bits included
			if byte(c) != last {
				tests["last character "+string(c)] = good[:len(good)-1] + string(c)
			}
		}
		t.Run(string(alg), func(t *testing.T) {
			t.Parallel()
			v := NewVerifier(sampleOptions(), mustSet(t, k))
			wantAccepted(t, v, good) // remembered, which must not help the others
			for name, text := range tests {
				t.Run(name, func(t *testing.T) { wantRefused(t, v, text, "") })
			}
		})
	}
}

func TestT12ES256Signature(t *testing.T) {
	t.Parallel()
	k := mustKey(t, ES256)
	v := NewVerifier(sampleOptions(), mustSet(t, k))
	order := elliptic.P256().Params().N
	if half := new(big.Int).Rsh(order, 1); string(half.Bytes()) != halfOrder {
		t.Fatalf("halfOrder is not %x", half)
	}
	for range 50 { // half of them would have a high s
		good := forge(t, k, goodHeader(k), goodBody)
		wantAccepted(t, v, good)
		dot := strings.LastIndexByte(good, '.')
		signature, _ := decode(good[dot+1:])
		s := new(big.Int).SetBytes(signature[32:])
		s.Sub(order, s).FillBytes(signature[32:])
		wantRefused(t, v, good[:dot+1]+encode(signature), badSignature)
	}
	good := forge(t, k, goodHeader(k), goodBody)
	input := good[:strings.LastIndexByte(good, '.')+1]
	one := make([]byte, 64)
	one[31], one[63] = 1, 1
	for name, signature := range map[string][]byte{
		"zero r and s": make([]byte, 64), "r = s = 1": one, "r = order": append(order.Bytes(), one[32:]...),
		"short": make([]byte, 63), "long": make([]byte, 65), "empty": nil, "P-384 size": make([]byte, 96),
		"DER": {0x30, 0x06, 0x02, 0x01, 0x01, 0x02, 0x01, 0x01},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantRefused(t, v, input+encode(signature), badSignature)
		})
	}
}
