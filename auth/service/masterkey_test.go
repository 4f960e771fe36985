package service_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chassi-go/chassi/auth/service"
	"github.com/chassi-go/chassi/auth/store"
	"github.com/chassi-go/chassi/internal/dbtest"
	"github.com/google/go-cmp/cmp"
)

// edit changes the stored keys.
func (n *node) edit(change func(ring *store.KeyRing)) {
	n.t.Helper()
	if err := n.store.ChangeKeys(n.t.Context(), func(ring *store.KeyRing) error { change(ring); return nil }); err != nil {
		n.t.Fatal(err)
	}
}

// Keys are forgotten under their master key alone, which stays the one of the database, or when
// that is lost, which makes place for another.
func TestKeysAreDeleted(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		at, master, another := newClock(), newMaster(), newMaster()
		n := start(t, url, defaults(), 10, at, under(master, nil))
		n.add(email, secret)
		raw, before := n.mustLogin(), n.ring()
		other := start(t, url, defaults(), 10, at, under(another, nil))
		want(t, "with another master key", other.DeleteKeys(t.Context(), false), service.ErrMasterKey)
		if diff := cmp.Diff(before, n.ring()); diff != "" {
			t.Errorf("the keys were changed:\n%s", diff)
		}
		if err := n.DeleteKeys(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		if ring := n.ring(); len(ring.Keys) != 0 || ring.Check == nil || !cmp.Equal(ring.Secrets, before.Secrets) {
			t.Errorf("%+v, want the check value and the secrets alone", ring)
		}
		look(t, n)
		if err := n.validate(raw); err == nil {
			t.Error("a token of a forgotten key is good")
		}
		if err := n.validate(n.mustLogin()); err != nil {
			t.Errorf("a token of the next key: %v", err)
		}
		if ring := n.ring(); len(ring.Keys) != 1 || len(ring.Secrets) != 1 {
			t.Errorf("%+v, want one key more, and no secret", ring)
		}
		if err := other.DeleteKeys(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		if ring := n.ring(); ring.Check != nil || len(ring.Keys)+len(ring.Secrets) != 0 {
			t.Errorf("%+v, want nothing", ring)
		}
		look(t, other)
		if err := other.validate(other.mustLogin()); err != nil {
			t.Errorf("under the next master key: %v", err)
		}
	})
}

// A database whose keys were encrypted before there was a check value proves the master key by a key
// or a secret of its own, and gets a check value with the next change.
func TestMasterKeyIsVerifiedWithoutACheckValue(t *testing.T) {
	t.Parallel()
	for what, left := range map[string]func(ring *store.KeyRing){
		"by a key": func(ring *store.KeyRing) { ring.Check, ring.Secrets = nil, nil },
		"by the second key": func(ring *store.KeyRing) {
			ring.Check, ring.Secrets = nil, nil
			ring.Keys = append([]store.SigningKey{{ID: "plain", Algorithm: "EdDSA", Private: []byte("no key"), CreatedAt: ring.Keys[0].CreatedAt.Add(-time.Hour)}}, ring.Keys...)
		},
		"by a secret": func(ring *store.KeyRing) { ring.Check, ring.Keys = nil, nil },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			url, at, master := dbtest.SQLite(t), newClock(), newMaster()
			n := start(t, url, defaults(), 10, at, under(master, nil))
			other := start(t, url, defaults(), 10, at, under(newMaster(), nil))
			n.edit(left)
			before := n.ring()
			_, err := other.RotateKey(t.Context(), false)
			want(t, "with another master key", err, service.ErrMasterKey)
			if diff := cmp.Diff(before, n.ring()); diff != "" {
				t.Errorf("the keys were changed:\n%s", diff)
			}
			k, err := n.RotateKey(t.Context(), false)
			if err != nil || !k.Sealed || n.ring().Check == nil || len(n.ring().Keys) != len(before.Keys)+1 {
				t.Errorf("with the master key: %+v, %v: %+v", k, err, n.ring())
			}
		})
	}
}

// What cannot be opened is not encrypted anew, and nothing else is either; but a key that has expired
// besides is deleted.
func TestRewrapStopsAtUnreadableKey(t *testing.T) {
	t.Parallel()
	url, at, old, next := dbtest.SQLite(t), newClock(), newMaster(), newMaster()
	first := start(t, url, defaults(), 10, at, under(old, nil)).ring().Keys[0]
	n := start(t, url, defaults(), 10, at, under(next, old))
	if _, err := n.RotateKey(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	spoil := func(ring *store.KeyRing) {
		i := slices.IndexFunc(ring.Keys, func(k store.SigningKey) bool { return k.ID == first.ID })
		ring.Keys[i].Private = []byte("not a key")
	}
	n.edit(spoil)
	before := n.ring()
	if rewrapped, err := n.RewrapKeys(t.Context()); err == nil || rewrapped != 0 || !strings.Contains(err.Error(), "signing key "+first.ID) {
		t.Errorf("%d keys, %v, want the key named", rewrapped, err)
	}
	if diff := cmp.Diff(before, n.ring()); diff != "" {
		t.Errorf("the keys were changed:\n%s", diff)
	}
	at.advance(2 * time.Hour) // the spoiled one has expired
	if rewrapped, err := n.RewrapKeys(t.Context()); err != nil || rewrapped != 1 || len(n.ring().Keys) != 1 || n.ring().Keys[0].ID == first.ID {
		t.Errorf("%d keys, %v: %+v", rewrapped, err, n.ring().Keys)
	}
	n.edit(func(ring *store.KeyRing) { ring.Secrets[0].Value = []byte("no secret") })
	before = n.ring()
	if _, err := n.RewrapKeys(t.Context()); err == nil || !strings.Contains(err.Error(), `secret "root"`) {
		t.Errorf("%v, want the secret named", err)
	}
	if diff := cmp.Diff(before, n.ring()); diff != "" {
		t.Errorf("the keys were changed:\n%s", diff)
	}
}

// The error names the keys and secrets, the reason, and the setting or command that helps.
func TestKeyStatusReportsProblems(t *testing.T) {
	t.Parallel()
	url, at, master := dbtest.SQLite(t), newClock(), newMaster()
	plain := start(t, url, defaults(), 10, at)
	if got := plain.KeyStatus(); got != (service.KeyStatus{Loaded: true, Usable: 1, Plain: 1, Text: "1 in use"}) {
		t.Errorf("without a master key: %+v", got)
	}
	n := start(t, url, defaults(), 10, at, under(master, nil))
	look(t, n)
	if lines := strings.Count(n.text(), "signing keys are stored without encryption"); lines != 1 || strings.Contains(n.text(), "opened again") {
		t.Errorf("logged %d times:\n%s", lines, n.text())
	}
	if got := n.KeyStatus(); got != (service.KeyStatus{
		Loaded: true, Usable: 1, Plain: 1, Text: "1 in use, 1 stored without encryption: run authd key rewrap once every node has token.master_key",
	}) {
		t.Errorf("before they are encrypted: %+v", got)
	}
	if _, err := n.RewrapKeys(t.Context()); err != nil {
		t.Fatal(err)
	}
	look(t, n)
	if got := n.KeyStatus(); got != (service.KeyStatus{Loaded: true, Usable: 1, Text: "1 in use"}) {
		t.Errorf("encrypted: %+v", got)
	}
	id := n.ring().Keys[0].ID
	const unset, other = "is encrypted, and token.master_key is not set", "cannot be decrypted: it was encrypted with a master key other than token.master_key, or its row was changed"
	const others = "cannot be decrypted: it was encrypted with neither token.master_key nor token.old_master_key, or its row was changed"
	look(t, plain)
	for what, c := range map[string]struct {
		node *node
		want service.KeyStatus
	}{
		"no master key": {
			start(t, url, defaults(), 10, at),
			service.KeyStatus{Loaded: true, Unreadable: 1, Text: fmt.Sprintf(`signing key %s: %s; secret "root": %s`, id, unset, unset)},
		},
		"no master key, the key in memory": {
			plain, service.KeyStatus{Loaded: true, Usable: 1, Unreadable: 1, Text: fmt.Sprintf(`signing key %s: %s (in use from memory until this process ends); secret "root": %s`, id, unset, unset)},
		},
		"another master key": {
			start(t, url, defaults(), 10, at, under(newMaster(), nil)),
			service.KeyStatus{Loaded: true, Unreadable: 1, Text: fmt.Sprintf(`signing key %s: %s; secret "root": %s`, id, other, other)},
		},
		"two other master keys": {
			start(t, url, defaults(), 10, at, under(newMaster(), newMaster())),
			service.KeyStatus{Loaded: true, Unreadable: 1, Text: fmt.Sprintf(`signing key %s: %s; secret "root": %s`, id, others, others)},
		},
	} {
		got := c.node.KeyStatus()
		got.Plain = c.want.Plain // of one in memory it says how it is stored
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", what, got, c.want)
		}
	}
	for what, c := range map[string]struct {
		masters func(*service.Options)
		text    string
	}{
		"none": {under(nil, nil), "token.master_key is not set"}, "another": {under(newMaster(), nil), "token.master_key does not decrypt them"},
		"two others": {under(newMaster(), newMaster()), "neither token.master_key nor token.old_master_key decrypts them"},
		"an old one": {under(nil, newMaster()), "neither token.master_key nor token.old_master_key decrypts them"},
	} {
		_, err := start(t, url, defaults(), 10, at, c.masters).RotateKey(t.Context(), false)
		if !errors.Is(err, service.ErrMasterKey) || !strings.HasSuffix(err.Error(), c.text) {
			t.Errorf("%s: %v, want %s", what, err, c.text)
		}
	}
}

// Keys of an algorithm that is not supported are not made: a database without keys stays so, and one
// with keys keeps them.
func TestKeysOfAnUnsupportedAlgorithmAreNotMade(t *testing.T) {
	t.Parallel()
	url, at, c := dbtest.SQLite(t), newClock(), defaults()
	n := start(t, url, defaults(), 10, at)
	c.Token.Algorithm = "none"
	other := start(t, url, c, 10, at) // there is a key
	before := n.ring()
	if _, err := other.RotateKey(t.Context(), true); err == nil || !strings.Contains(err.Error(), "create a signing key") {
		t.Errorf("%v", err)
	}
	if diff := cmp.Diff(before, n.ring()); diff != "" {
		t.Errorf("the keys were changed:\n%s", diff)
	}
	n.edit(func(ring *store.KeyRing) { *ring = store.KeyRing{} })
	if err := other.PollKeys(t.Context()); err == nil || len(n.ring().Keys) != 0 {
		t.Errorf("%v, %+v", err, n.ring())
	}
	if _, err := other.ResetKeys(t.Context()); err == nil {
		t.Error("reset to a key that cannot be made")
	}
}

// A root secret that is missing is made anew, and the keys stay.
func TestAMissingRootSecretIsMade(t *testing.T) {
	t.Parallel()
	n := onSQLite(t)
	n.add(email, secret)
	raw, keys := n.mustLogin(), n.ring().Keys
	before, err := n.Secret("a purpose")
	if err != nil {
		t.Fatal(err)
	}
	n.edit(func(ring *store.KeyRing) { ring.Secrets = nil })
	look(t, n)
	after, err := n.Secret("a purpose")
	if err != nil || len(after) != 32 || bytes.Equal(before, after) || len(n.ring().Secrets) != 1 || !cmp.Equal(n.ring().Keys, keys) {
		t.Errorf("%x, %v: %+v", after, err, n.ring())
	}
	if err := n.validate(raw); err != nil {
		t.Error(err)
	}
}

// A key ends with the last token that it signed, however often others follow.
func TestAnOldKeyEndsOnce(t *testing.T) {
	t.Parallel()
	n := onSQLite(t)
	for i, want := range []time.Duration{0, time.Hour + 15*time.Second, time.Hour + 15*time.Second} {
		if i > 0 {
			if _, err := n.RotateKey(t.Context(), false); err != nil {
				t.Fatal(err)
			}
		}
		first := n.ring().Keys[0]
		got := time.Duration(0)
		if !first.ExpiresAt.IsZero() {
			got = first.ExpiresAt.Sub(first.CreatedAt)
		}
		if got != want+time.Duration(min(i, 1))*10*time.Minute {
			t.Errorf("after %d rotations: %v, want %v after the first", i, got, want)
		}
		n.clock.advance(10 * time.Minute)
	}
}
