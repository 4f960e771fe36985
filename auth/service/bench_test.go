package service_test

import (
	"testing"

	"github.com/chassi-go/chassi/auth"
	"github.com/chassi-go/chassi/internal/dbtest"
	"github.com/chassi-go/chassi/password"
)

// BenchmarkValidateToken is a token seen before: its signature is remembered, its
// account was asked for within the last second.
func BenchmarkValidateToken(b *testing.B) {
	n := onSQLite(b)
	n.add(email, secret)
	request := &auth.ValidateTokenRequest{Token: n.mustLogin()}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := n.ValidateToken(b.Context(), request); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLogin and BenchmarkHashAlone tell what a login costs beside its hash.
// Both have more callers than workers, as a service under load has.
func BenchmarkLogin(b *testing.B) {
	c := defaults()
	c.Password = password.DefaultParams()
	n := start(b, dbtest.SQLite(b), c, 1000, newClock())
	n.add(email, secret)
	n.mustLogin()
	b.SetParallelism(8)
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if _, err := n.login(email, secret, home); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkHashAlone(b *testing.B) {
	encoded, err := password.Hash(password.DefaultParams(), secret)
	if err != nil {
		b.Fatal(err)
	}
	b.SetParallelism(8)
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if ok, err := password.Verify(encoded, secret); !ok || err != nil {
				b.Error(ok, err)
			}
		}
	})
}
