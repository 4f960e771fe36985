package password_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/chassi-go/chassi/password"
)

// cheap keeps tests fast; production must not use it.
var cheap = password.Params{Memory: 64, Time: 1, Parallelism: 1, SaltLen: 16, KeyLen: 32}

func mustHash(tb testing.TB, p password.Params, text string) string {
	tb.Helper()
	encoded, err := password.Hash(p, text)
	if err != nil {
		tb.Fatal(err)
	}
	return encoded
}

func mustVerify(tb testing.TB, encoded, text string) bool {
	tb.Helper()
	ok, err := password.Verify(encoded, text)
	if err != nil {
		tb.Fatal(err)
	}
	return ok
}

// The vector is from the reference implementation's test suite (argon2id,
// version 19, t=2, m=2^16, p=1).
func TestVerifyAgreesWithTheReference(t *testing.T) {
	t.Parallel()
	const encoded = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	if !mustVerify(t, encoded, "password") {
		t.Error("the reference vector does not verify")
	}
	if mustVerify(t, encoded, "Password") {
		t.Error("another password verifies")
	}
}

func TestHashDefaultForm(t *testing.T) {
	t.Parallel()
	encoded := mustHash(t, password.DefaultParams(), "a fine password")
	if !strings.HasPrefix(encoded, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("got %q", encoded)
	}
	if again := mustHash(t, password.DefaultParams(), "a fine password"); again == encoded {
		t.Error("two hashes of one password are equal: the salt is not random")
	}
}

func TestT22WholePasswordCounts(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 128)
	lengths := []int{72, 73, 128}
	for _, stored := range lengths {
		encoded := mustHash(t, cheap, long[:stored])
		for _, given := range lengths {
			if got := mustVerify(t, encoded, long[:given]); got != (given == stored) {
				t.Errorf("stored %d bytes, given %d: verified = %v", stored, given, got)
			}
		}
	}
}

func TestT24SameTextSamePassword(t *testing.T) {
	t.Parallel()
	const composed, decomposed = "caf\u00e9 au lait", "cafe\u0301 au lait"
	encoded := mustHash(t, cheap, composed)
	for given, want := range map[string]bool{
		composed: true, decomposed: true,
		" " + composed: false, composed + " ": false, "Caf\u00e9 au lait": false,
	} {
		if got := mustVerify(t, encoded, given); got != want {
			t.Errorf("Verify(%q) = %v, want %v", given, got, want)
		}
	}
}

func TestT28HostileStoredHash(t *testing.T) {
	t.Parallel()
	const tail = "$c29tZXNhbHRzb21lc2FsdA$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	with := func(costs string) string { return "$argon2id$v=19$" + costs + tail }
	if _, err := password.Verify(with("m=64,t=1,p=1"), "x"); err != nil {
		t.Fatalf("the form itself is refused: %v", err)
	}
	malformed, unsupported := password.ErrMalformed, password.ErrUnsupported
	tests := map[string]struct {
		encoded string
		want    error
	}{
		"m is 4 GiB":           {with("m=4194304,t=1,p=1"), unsupported},
		"m is 2^32-1":          {with("m=4294967295,t=1,p=1"), unsupported},
		"m does not fit":       {with("m=4294967360,t=1,p=1"), malformed},
		"m is 0":               {with("m=0,t=1,p=1"), unsupported},
		"m under 8p":           {with("m=15,t=1,p=2"), unsupported},
		"t is 2^32-1":          {with("m=64,t=4294967295,p=1"), unsupported},
		"t is 0":               {with("m=64,t=0,p=1"), unsupported},
		"m x t":                {with("m=262144,t=64,p=1"), unsupported},
		"p is 255":             {with("m=4096,t=1,p=255"), unsupported},
		"p is 0":               {with("m=64,t=1,p=0"), unsupported},
		"p does not fit":       {with("m=64,t=1,p=257"), malformed},
		"leading zero":         {with("m=064,t=1,p=1"), malformed},
		"plus sign":            {with("m=+64,t=1,p=1"), malformed},
		"minus sign":           {with("m=-64,t=1,p=1"), malformed},
		"hexadecimal":          {with("m=0x40,t=1,p=1"), malformed},
		"other order":          {with("t=1,m=64,p=1"), malformed},
		"parameter missing":    {with("m=64,t=1"), malformed},
		"parameter twice":      {with("m=64,t=1,p=1,p=1"), malformed},
		"keyid":                {with("m=64,t=1,p=1,keyid=AAAA"), malformed},
		"no parameters":        {with(""), malformed},
		"argon2i":              {"$argon2i$v=19$m=64,t=1,p=1" + tail, unsupported},
		"argon2d":              {"$argon2d$v=19$m=64,t=1,p=1" + tail, unsupported},
		"bcrypt":               {"$2b$10$" + strings.Repeat("a", 53), unsupported},
		"version 16":           {"$argon2id$v=16$m=64,t=1,p=1" + tail, unsupported},
		"version 20":           {"$argon2id$v=20$m=64,t=1,p=1" + tail, unsupported},
		"no version":           {"$argon2id$m=64,t=1,p=1" + tail, unsupported},
		"empty":                {"", malformed},
		"plain password":       {"secret", malformed},
		"no hash":              {"$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHRzb21lc2FsdA", malformed},
		"empty hash":           {"$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$", unsupported},
		"short hash":           {"$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$AAAA", unsupported},
		"empty salt":           {"$argon2id$v=19$m=64,t=1,p=1$$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc", unsupported},
		"truncated":            {strings.TrimSuffix(with("m=64,t=1,p=1"), "c"), malformed},
		"trailing bits":        {strings.TrimSuffix(with("m=64,t=1,p=1"), "c") + "d", malformed},
		"padding":              {with("m=64,t=1,p=1") + "=", malformed},
		"line break in base64": {strings.Replace(with("m=64,t=1,p=1"), "CTFh", "CT\nFh", 1), malformed},
		"line break at end":    {with("m=64,t=1,p=1") + "\n", malformed},
		"url alphabet":         {strings.Replace(with("m=64,t=1,p=1"), "CTFh", "CT-_", 1), malformed},
		"more fields":          {with("m=64,t=1,p=1") + "$AAAA", malformed},
		"a megabyte":           {with("m=64,t=1,p=1") + strings.Repeat("A", 1<<20), malformed},
		"long salt":            {"$argon2id$v=19$m=64,t=1,p=1$" + strings.Repeat("AAAA", 22) + "$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc", unsupported},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ok, err := password.Verify(tt.encoded, "password")
			if ok || !errors.Is(err, tt.want) {
				t.Errorf("Verify = %v, %v; want false, %v", ok, err, tt.want)
			}
			if !password.NeedsRehash(tt.encoded, cheap) {
				t.Error("NeedsRehash = false")
			}
		})
	}
}

// Not parallel: it counts the bytes that the whole process takes.
func TestT28RefusesBeforeItAllocates(t *testing.T) {
	const hostile = "$argon2id$v=19$m=4194304,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	result := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			_, _ = password.Verify(hostile, "password")
		}
	})
	if got := result.AllocedBytesPerOp(); got > 8<<10 {
		t.Errorf("refusing takes %d bytes, want at most 8 KiB", got)
	}
}

func TestT32NeedsRehash(t *testing.T) {
	t.Parallel()
	encoded := mustHash(t, cheap, "a fine password")
	if password.NeedsRehash(encoded, cheap) {
		t.Error("a hash made under the same parameters needs none")
	}
	for name, change := range map[string]func(*password.Params){
		"memory": func(p *password.Params) { p.Memory *= 2 }, "less memory": func(p *password.Params) { p.Memory /= 2 },
		"time": func(p *password.Params) { p.Time++ }, "parallelism": func(p *password.Params) { p.Parallelism++ },
		"salt": func(p *password.Params) { p.SaltLen++ }, "key": func(p *password.Params) { p.KeyLen++ },
	} {
		p := cheap
		if change(&p); !password.NeedsRehash(encoded, p) {
			t.Errorf("%s: NeedsRehash = false", name)
		}
	}
}

func TestDummyFitsNothingAndCostsTheSame(t *testing.T) {
	t.Parallel()
	dummy := password.Dummy(cheap)
	if mustVerify(t, dummy, "") || mustVerify(t, dummy, "password") {
		t.Error("a password fits")
	}
	if password.NeedsRehash(dummy, cheap) {
		t.Error("made under other parameters")
	}
	if password.NeedsRehash(password.Dummy(password.Params{}), password.DefaultParams()) {
		t.Error("invalid parameters are not replaced by the default")
	}
}

func TestParamsValidate(t *testing.T) {
	t.Parallel()
	if err := password.DefaultParams().Validate(); err != nil {
		t.Error(err)
	}
	if err := (password.Params{}).Validate(); err == nil {
		t.Error("the zero value is valid")
	}
	if _, err := password.Hash(password.Params{}, "a fine password"); err == nil {
		t.Error("Hash takes the zero value")
	}
}

func TestHashRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := password.Params{
			Memory: rapid.Uint32Range(32, 256).Draw(t, "memory"), Time: rapid.Uint32Range(1, 3).Draw(t, "time"),
			Parallelism: rapid.Uint8Range(1, 4).Draw(t, "parallelism"),
			SaltLen:     rapid.Uint32Range(8, 64).Draw(t, "salt"), KeyLen: rapid.Uint32Range(16, 64).Draw(t, "key"),
		}
		text := rapid.StringN(0, 64, 256).Filter(func(s string) bool { return !strings.Contains(s, "\x00") }).Draw(t, "password")
		encoded, err := password.Hash(p, text)
		if err != nil {
			t.Fatal(err)
		}
		if ok, err := password.Verify(encoded, text); !ok || err != nil {
			t.Fatalf("Verify = %v, %v", ok, err)
		}
		if ok, _ := password.Verify(encoded, text+"x"); ok {
			t.Fatal("a longer password verifies")
		}
		if password.NeedsRehash(encoded, p) {
			t.Fatal("NeedsRehash = true")
		}
	})
}

func BenchmarkHash(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		mustHash(b, password.DefaultParams(), "a fine password")
	}
}

func BenchmarkVerify(b *testing.B) {
	encoded := mustHash(b, password.DefaultParams(), "a fine password")
	b.ReportAllocs()
	for b.Loop() {
		mustVerify(b, encoded, "a fine password")
	}
}

func Example() {
	params := password.DefaultParams()
	stored, err := password.Hash(params, "correct horse battery staple")
	if err != nil {
		fmt.Println(err)
		return
	}
	ok, err := password.Verify(stored, "correct horse battery staple")
	fmt.Println(ok, err)

	params.Time = 3 // the operator raises the price
	fmt.Println(password.NeedsRehash(stored, params))
	// Output:
	// true <nil>
	// true
}
