package token

import (
	"encoding/base64"
	"strconv"
	"testing"
)

func BenchmarkVerifyCached(b *testing.B) {
	keys := mustSet(b, mustKey(b, EdDSA))
	o := sampleOptions()
	v := NewVerifier(o, keys)
	text := mustSign(b, keys, sampleClaims())
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		wantAccepted(b, v, text)
	}
}

func BenchmarkVerifyCachedParallel(b *testing.B) {
	keys := mustSet(b, mustKey(b, EdDSA))
	v := NewVerifier(sampleOptions(), keys)
	text := mustSign(b, keys, sampleClaims())
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			wantAccepted(b, v, text)
		}
	})
}

// Ten thousand tokens in turn, as a busy service has them.
func BenchmarkVerifyCachedMany(b *testing.B) {
	keys := mustSet(b, mustKey(b, HS256))
	o := sampleOptions()
	o.CacheSize = 20_000
	v := NewVerifier(o, keys)
	texts := make([]string, 10_000)
	for i := range texts {
		c := sampleClaims()
		c.ID = strconv.Itoa(i)
		texts[i] = mustSign(b, keys, c)
		wantAccepted(b, v, texts[i])
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		wantAccepted(b, v, texts[i%len(texts)])
	}
}

func BenchmarkVerify(b *testing.B) {
	for _, alg := range algorithms {
		b.Run(string(alg), func(b *testing.B) {
			keys := mustSet(b, mustKey(b, alg))
			o := sampleOptions()
			o.CacheSize = -1
			v := NewVerifier(o, keys)
			text := mustSign(b, keys, sampleClaims())
			b.ReportAllocs()
			for b.Loop() {
				wantAccepted(b, v, text)
			}
		})
	}
}

func BenchmarkVerifyUnknownKey(b *testing.B) {
	v := NewVerifier(sampleOptions(), mustSet(b, mustKey(b, EdDSA)))
	text := mustSign(b, mustSet(b, mustKey(b, EdDSA)), sampleClaims())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(text); err == nil {
			b.Fatal("accepted")
		}
	}
}

func BenchmarkVerifyForgedSignature(b *testing.B) {
	k := mustKey(b, EdDSA)
	v := NewVerifier(sampleOptions(), mustSet(b, k))
	text := k.header(Access) + "." + encode([]byte(goodBody)) + "." + base64.RawURLEncoding.EncodeToString(make([]byte, 64))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(text); err == nil {
			b.Fatal("accepted")
		}
	}
}

func BenchmarkSign(b *testing.B) {
	for _, alg := range algorithms {
		b.Run(string(alg), func(b *testing.B) {
			keys := mustSet(b, mustKey(b, alg))
			b.ReportAllocs()
			for b.Loop() {
				mustSign(b, keys, sampleClaims())
			}
		})
	}
}
