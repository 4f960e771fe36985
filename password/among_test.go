package password

import (
	"errors"
	"slices"
	"testing"
)

var (
	older = Params{Memory: 64, Time: 1, Parallelism: 1, SaltLen: 8, KeyLen: 16}
	newer = Params{Memory: 128, Time: 2, Parallelism: 1, SaltLen: 16, KeyLen: 32}
)

func mustHash(t *testing.T, p Params, plain string) string {
	t.Helper()
	encoded, err := Hash(p, plain)
	if err != nil {
		t.Fatal(err)
	}
	return encoded
}

// R78: whatever is stored, the same hashes are computed in the same order.
func TestVerifyAmongDoesTheSameWorkForAll(t *testing.T) {
	t.Parallel()
	costs := []Params{newer, older}
	long := older
	long.SaltLen, long.KeyLen = 32, 64
	for name, encoded := range map[string]string{
		"older":          mustHash(t, older, "an analytical engine"),
		"newer":          mustHash(t, newer, "an analytical engine"),
		"other lengths":  mustHash(t, long, "an analytical engine"),
		"dummy":          Dummy(newer),
		"empty":          "",
		"no argon2id":    "$2b$31$",
		"hostile":        "$argon2id$v=19$m=4194304,t=1,p=1$c2FsdHNhbHQ$a2V5a2V5a2V5a2V5a2V5a2U",
		"not even close": "plain text",
	} {
		stored, err := parse(encoded)
		work, decisive := plan(costs, stored, err == nil)
		if len(work) != len(costs) {
			t.Errorf("%s: %d hashes, want %d", name, len(work), len(costs))
			continue
		}
		for i, d := range work {
			if !d.params.SameCost(costs[i]) {
				t.Errorf("%s: hash %d under %+v, want the cost of %+v", name, i, d.params, costs[i])
			}
		}
		if (decisive >= 0) != (err == nil) || decisive >= 0 && work[decisive].String() != encoded {
			t.Errorf("%s: hash %d decides", name, decisive)
		}
	}
}

func TestVerifyAmong(t *testing.T) {
	t.Parallel()
	for _, costs := range [][]Params{{newer, older}, {older, newer}, {older}, {newer}, nil} {
		for _, p := range []Params{older, newer} {
			encoded := mustHash(t, p, "an analytical engine")
			for plain, want := range map[string]bool{"an analytical engine": true, "a difference engine": false} {
				if ok, err := VerifyAmong(costs, encoded, plain); ok != want || err != nil {
					t.Errorf("among %v, %s: %t, %v", costs, plain, ok, err)
				}
			}
			if ok, err := VerifyAmong(costs, encoded, "a NUL \x00"); ok || err == nil {
				t.Errorf("what no password can be: %t, %v", ok, err)
			}
		}
		if ok, err := VerifyAmong(costs, Dummy(newer), "an analytical engine"); ok || err != nil {
			t.Errorf("a dummy: %t, %v", ok, err)
		}
		if ok, err := VerifyAmong(costs, "plain text", "an analytical engine"); ok || !errors.Is(err, ErrMalformed) {
			t.Errorf("malformed: %t, %v", ok, err)
		}
	}
	// The fixed salt and hash of what is computed for the time alone decide nothing.
	if ok, err := VerifyAmong([]Params{older, newer}, "", "an analytical engine"); ok || !errors.Is(err, ErrMalformed) {
		t.Errorf("empty: %t, %v", ok, err)
	}
}

func TestParamsOf(t *testing.T) {
	t.Parallel()
	if p, err := ParamsOf(mustHash(t, newer, "an analytical engine")); p != newer || err != nil {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := ParamsOf("plain text"); !errors.Is(err, ErrMalformed) {
		t.Error(err)
	}
}

func TestStretch(t *testing.T) {
	t.Parallel()
	stretch := func(p Params, salt, text string) []byte {
		b, err := Stretch(p, []byte(salt), []byte(text))
		if err != nil || len(b) != int(p.KeyLen) {
			t.Errorf("%d bytes, %v", len(b), err)
		}
		return b
	}
	first := stretch(newer, "salt salt", "text")
	if !slices.Equal(first, stretch(newer, "salt salt", "text")) {
		t.Error("not the same twice")
	}
	for _, other := range [][]byte{stretch(newer, "salt sald", "text"), stretch(newer, "salt salt", "tex"), stretch(older, "salt salt", "text")} {
		if slices.Equal(first[:16], other[:16]) {
			t.Error("the same for another salt, text or cost")
		}
	}
	if _, err := Stretch(newer, []byte("short"), nil); err == nil {
		t.Error("a salt of 5 bytes was taken")
	}
	if _, err := Stretch(Params{}, []byte("salt salt"), nil); err == nil {
		t.Error("no parameters were taken")
	}
}
