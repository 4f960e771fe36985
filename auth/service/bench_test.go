package service_test

import (
	"syscall"
	"testing"
	"time"

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

// BenchmarkLogin and BenchmarkHashAlone measure the cost of a login besides its hash.
// The login has more callers than workers, as a service under load has; the hash
// has as many as there are workers, which is its best case.
func BenchmarkLogin(b *testing.B) {
	c := defaults()
	c.Password = password.DefaultParams()
	n := start(b, dbtest.SQLite(b), c, 1000, newClock())
	n.add(email, secret)
	n.mustLogin()
	b.SetParallelism(8)
	defer cpu(b)()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if _, err := n.login(email, secret, home); err != nil {
				b.Error(err)
			}
		}
	})
}

// cpu reports the processor time of each operation, which is what a core has to
// give; unlike the time on the clock it leaves out what others do on the machine.
func cpu(b *testing.B) (report func()) {
	b.Helper()
	before := processTime(b)
	b.ResetTimer()
	return func() { b.ReportMetric(float64((processTime(b)-before).Nanoseconds())/float64(b.N), "cpu-ns/op") }
}

func processTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func BenchmarkHashAlone(b *testing.B) {
	encoded, err := password.Hash(password.DefaultParams(), secret)
	if err != nil {
		b.Fatal(err)
	}
	defer cpu(b)()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if ok, err := password.Verify(encoded, secret); !ok || err != nil {
				b.Error(ok, err)
			}
		}
	})
}
