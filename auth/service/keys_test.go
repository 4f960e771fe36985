package service_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chassi-go/chassi/auth"
	"github.com/chassi-go/chassi/auth/service"
	"github.com/chassi-go/chassi/auth/store"
	"github.com/chassi-go/chassi/internal/dbtest"
	"github.com/google/go-cmp/cmp"
)

func newMaster() []byte {
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	return key
}

// under sets the master keys of a node; either may be nil.
func under(current, old []byte) func(*service.Options) {
	return func(o *service.Options) { o.MasterKey, o.OldMasterKey = current, old }
}

func (n *node) ring() store.KeyRing {
	n.t.Helper()
	ring, err := n.store.KeyRing(n.t.Context())
	if err != nil {
		n.t.Fatal(err)
	}
	return ring
}

// look makes n look at the stored keys again, as it does every three seconds.
func look(t *testing.T, n *node) {
	t.Helper()
	n.clock.advance(time.Second)
	reload(t, n)
}

// R88: without the master key of the database no key is changed, and the error says why.
func TestKeysAreChangedOnlyUnderTheirMasterKey(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		at, master := newClock(), newMaster()
		n := start(t, url, defaults(), 10, at, under(master, nil))
		n.add(email, secret)
		raw, before := n.mustLogin(), n.ring()
		if before.Check == nil || !before.Keys[0].Sealed {
			t.Fatalf("%+v: not sealed", before)
		}
		for name, masters := range map[string]func(*service.Options){
			"another": under(newMaster(), nil), "none": under(nil, nil), "two others": under(newMaster(), newMaster()),
		} {
			other := start(t, url, defaults(), 10, at, masters)
			for what, change := range map[string]func(context.Context) error{
				"rotate": func(ctx context.Context) error { _, err := other.RotateKey(ctx, false); return err },
				"revoke": func(ctx context.Context) error { _, err := other.RotateKey(ctx, true); return err },
				"rewrap": func(ctx context.Context) error { _, err := other.RewrapKeys(ctx); return err },
			} {
				err := change(t.Context())
				if err == nil || !errors.Is(err, service.ErrMasterKey) && !strings.Contains(err.Error(), "token.master_key is not set") {
					t.Errorf("%s, %s: %v, want it refused", name, what, err)
				}
			}
		}
		if diff := cmp.Diff(before, n.ring()); diff != "" {
			t.Errorf("the keys were changed:\n%s", diff)
		}
		for _, revoke := range []bool{false, true} {
			if _, err := n.RotateKey(t.Context(), revoke); err != nil {
				t.Errorf("with the master key: %v", err)
			}
		}
		look(t, n)
		want(t, "a token of a revoked key", n.validate(raw), auth.ErrInvalidToken)
	})
}

// A node without the right master key starts, logs the error once, and neither issues tokens nor
// validates those of other nodes.
func TestANodeWithAnotherMasterKeyIsNotReady(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		at := newClock()
		good := start(t, url, defaults(), 10, at, under(newMaster(), nil))
		good.add(email, secret)
		raw, before := good.mustLogin(), good.ring()
		for name, masters := range map[string]func(*service.Options){"another": under(newMaster(), nil), "none": under(nil, nil)} {
			bad := start(t, url, defaults(), 10, at, masters)
			status := bad.KeyStatus()
			if err := bad.CheckKeys(t.Context()); err == nil || !strings.Contains(err.Error(), before.Keys[0].ID) || !strings.Contains(err.Error(), "token.master_key") {
				t.Errorf("%s: %v, want key and setting named", name, err)
			}
			if status.Usable != 0 || status.Unreadable != 1 {
				t.Errorf("%s: %+v", name, status)
			}
			hashed := bad.hashes()
			for _, password := range []string{secret, "a guess that is wrong"} {
				_, err := bad.login(email, password, home)
				want(t, name+": login", err, auth.ErrUnavailable)
			}
			if bad.hashes() != hashed {
				t.Errorf("%s: a password was looked at", name)
			}
			_, err := bad.JWKS(t.Context(), &auth.JWKSRequest{})
			want(t, name+": public keys", err, auth.ErrUnavailable)
			want(t, name+": a good token", bad.validate(raw), auth.ErrUnavailable)
			want(t, name+": no token", bad.validate("x"+raw), auth.ErrInvalidToken)
			look(t, bad)
			if n := strings.Count(bad.text(), "signing keys cannot be opened"); n != 1 {
				t.Errorf("%s: logged %d times:\n%s", name, n, bad.text())
			}
		}
		if diff := cmp.Diff(before, good.ring()); diff != "" {
			t.Errorf("the keys were changed:\n%s", diff)
		}
	})
}

// One that finds no key at all, as after a restore, makes none that others cannot open.
func TestNoFirstKeyUnderAnotherMasterKey(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		at, master := newClock(), newMaster()
		good := start(t, url, defaults(), 10, at, under(master, nil))
		if err := good.store.ChangeKeys(t.Context(), func(ring *store.KeyRing) error { ring.Keys = nil; return nil }); err != nil {
			t.Fatal(err)
		}
		bad := start(t, url, defaults(), 10, at, under(newMaster(), nil))
		if err := bad.CheckKeys(t.Context()); err == nil || len(bad.ring().Keys) != 0 {
			t.Errorf("%v, %+v", err, bad.ring())
		}
		look(t, good)
		if err := good.CheckKeys(t.Context()); err != nil || len(good.ring().Keys) != 1 || !good.ring().Keys[0].Sealed {
			t.Errorf("%v, %+v", err, good.ring())
		}
		look(t, bad)
		if bad.CheckKeys(t.Context()) == nil {
			t.Error("ready with a key that it cannot open")
		}
	})
}

// A row that cannot be opened is left out, also at the start: the other keys sign and
// verify, and later changes are taken in.
func TestOneUnreadableKeyIsSkipped(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		at, master := newClock(), under(newMaster(), nil)
		n := start(t, url, defaults(), 10, at, master)
		n.add(email, secret)
		first := n.mustLogin()
		spoiled, err := n.RotateKey(t.Context(), false)
		if err != nil {
			t.Fatal(err)
		}
		spoil := func(private []byte) {
			t.Helper()
			if err := n.store.ChangeKeys(t.Context(), func(ring *store.KeyRing) error {
				i := slices.IndexFunc(ring.Keys, func(k store.SigningKey) bool { return k.ID == spoiled.ID })
				ring.Keys[i].Private = private
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		}
		look(t, n)
		at.advance(keyAnnounced)
		second := n.mustLogin()
		spoil([]byte("not a key"))
		look(t, n)
		if err := errors.Join(n.validate(first), n.validate(second), n.CheckKeys(t.Context())); err != nil {
			t.Errorf("a node that holds the key: %v", err)
		}
		cold := start(t, url, defaults(), 10, at, master)
		want(t, "a token of the spoiled key", cold.validate(second), auth.ErrUnavailable)
		third := cold.mustLogin()
		if err := errors.Join(cold.validate(first), cold.validate(third), n.validate(third), cold.CheckKeys(t.Context())); err != nil {
			t.Errorf("the other key: %v", err)
		}
		for what, node := range map[string]*node{"warm": n, "cold": cold} {
			if s := node.KeyStatus(); s.Unreadable != 1 || !strings.Contains(s.Text, spoiled.ID) || !strings.Contains(node.text(), "cannot be opened") {
				t.Errorf("%s: %+v", what, s)
			}
		}
		spoil(spoiled.Private)
		look(t, cold)
		if err := cold.validate(second); err != nil || strings.Count(cold.text(), "can be opened again") != 1 {
			t.Errorf("mended: %v", err)
		}
		spoil([]byte("not a key"))
		look(t, n)
		if k, err := n.RotateKey(t.Context(), true); err != nil || k.ActiveAt.After(k.CreatedAt) {
			t.Fatalf("%v: made at %v, signs from %v", err, k.CreatedAt, k.ActiveAt)
		}
		for _, node := range []*node{n, cold} {
			look(t, node)
			for _, raw := range []string{first, second, third} {
				want(t, "after a revocation", node.validate(raw), auth.ErrInvalidToken)
			}
			if err := node.validate(node.mustLogin()); err != nil {
				t.Error(err)
			}
		}
	})
}

// keyAnnounced is when a rotated key signs on every node.
const keyAnnounced = 11 * time.Second

// The documented order of a change of the master key: nodes with both, rewrap, nodes with
// the new one. Every token is good on every node at every step, and keys can be rotated.
func TestTheMasterKeyIsChangedWithoutAFailedValidation(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		at, before, after := newClock(), newMaster(), newMaster()
		var nodes []*node
		var tokens []string
		add := func(masters func(*service.Options)) *node {
			n := start(t, url, defaults(), 10, at, masters)
			nodes = append(nodes, n)
			return n
		}
		check := func(step string) {
			t.Helper()
			for i, n := range nodes {
				look(t, n)
				tokens = append(tokens, n.mustLogin())
				for j, raw := range tokens {
					for k, other := range nodes {
						if err := other.validate(raw); err != nil {
							t.Errorf("%s, node %d: token %d, after the login on node %d: %v", step, k, j, i, err)
						}
					}
				}
			}
		}
		rotate := func(n *node) {
			t.Helper()
			if _, err := n.RotateKey(t.Context(), false); err != nil {
				t.Error(err)
			}
			for _, n := range nodes {
				look(t, n)
			}
			at.advance(keyAnnounced)
		}
		add(under(before, nil)).add(email, secret)
		check("the old key")
		both := add(under(after, before))
		check("both")
		rotate(both) // sealed with the old one, which all have
		check("rotated by a node with both")
		nodes = nodes[1:]
		if n, err := both.RewrapKeys(t.Context()); err != nil || n != 2 {
			t.Fatalf("%d keys, %v", n, err)
		}
		check("rewrapped")
		rotate(both)
		add(under(after, nil))
		check("the new key")
		rotate(nodes[1])
		check("rotated under the new key")
		last := start(t, url, defaults(), 10, at, under(before, nil))
		if last.CheckKeys(t.Context()) == nil {
			t.Error("the old master key opens the keys still")
		}
		if n, err := nodes[1].RewrapKeys(t.Context()); err != nil || n != 4 {
			t.Errorf("again: %d keys, %v", n, err)
		}
	})
}

// Keys that were stored before there was a master key are sealed by a command, so that
// nodes without it go on until then; what is made meanwhile can be opened by all.
func TestAFirstMasterKeyBreaksNoNodeWithoutIt(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		at, master := newClock(), newMaster()
		without := start(t, url, defaults(), 10, at)
		without.add(email, secret)
		with := start(t, url, defaults(), 10, at, under(master, nil))
		if !strings.Contains(with.KeyStatus().Text, "authd key rewrap") || !strings.Contains(with.text(), "stored without encryption") {
			t.Errorf("%+v", with.KeyStatus())
		}
		if _, err := with.RotateKey(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		restarted := start(t, url, defaults(), 10, at)
		for _, n := range []*node{without, with, restarted} {
			look(t, n)
			if err := errors.Join(n.CheckKeys(t.Context()), without.validate(n.mustLogin())); err != nil || n.KeyStatus().Unreadable != 0 {
				t.Errorf("%v, %+v", err, n.KeyStatus())
			}
		}
		if n, err := with.RewrapKeys(t.Context()); err != nil || n != 2 {
			t.Fatalf("%d keys, %v", n, err)
		}
		for _, k := range with.ring().Keys {
			if !k.Sealed {
				t.Errorf("%s is stored plain", k.ID)
			}
		}
		for _, secret := range with.ring().Secrets {
			if !secret.Sealed {
				t.Errorf("the secret %s is stored plain", secret.Name)
			}
		}
		look(t, with)
		look(t, without) // holds them in memory
		if err := errors.Join(without.validate(with.mustLogin()), with.validate(without.mustLogin())); err != nil {
			t.Error(err)
		}
		if s := with.KeyStatus(); s.Plain != 0 || s.Unreadable != 0 || s.Usable != 2 {
			t.Errorf("%+v", s)
		}
	})
}

// Where there is one node, it seals them itself.
func TestTheOnlyNodeSealsPlainKeys(t *testing.T) {
	t.Parallel()
	url, at := dbtest.SQLite(t), newClock()
	before := start(t, url, defaults(), 10, at)
	before.add(email, secret)
	plain, raw := before.ring().Keys[0].Private, before.mustLogin()
	n := start(t, url, defaults(), 10, at, under(newMaster(), nil), func(o *service.Options) { o.SealPlainKeys = true })
	ring := n.ring()
	if ring.Check == nil || !ring.Keys[0].Sealed || bytes.Contains(ring.Keys[0].Private, plain) || n.KeyStatus().Plain != 0 {
		t.Errorf("%+v, %+v", ring, n.KeyStatus())
	}
	if err := n.validate(raw); err != nil {
		t.Error(err)
	}
}

// A lost master key: the keys are reset under a new one, and everybody logs in again.
func TestKeysAreResetWhenTheMasterKeyIsLost(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		at := newClock()
		start(t, url, defaults(), 10, at, under(newMaster(), nil)).add(email, secret)
		for _, next := range [][]byte{newMaster(), nil} {
			n := start(t, url, defaults(), 10, at, under(next, nil))
			if n.CheckKeys(t.Context()) == nil {
				t.Fatal("the master key is not lost")
			}
			k, err := n.ResetKeys(t.Context())
			if err != nil || k.Sealed != (next != nil) {
				t.Fatalf("%+v, %v", k, err)
			}
			look(t, n)
			if err := errors.Join(n.CheckKeys(t.Context()), n.validate(n.mustLogin())); err != nil || len(n.ring().Keys) != 1 {
				t.Errorf("%v", err)
			}
			if _, err := n.ResetKeys(t.Context()); err == nil || !strings.Contains(err.Error(), "a reset is not needed") {
				t.Errorf("a second reset: %v", err)
			}
		}
	})
}
