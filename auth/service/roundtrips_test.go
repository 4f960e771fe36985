package service_test

import (
	"fmt"
	"net/netip"
	"net/url"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/auth"
	"github.com/chassi-go/chassi/internal/dbtest"
	"github.com/chassi-go/chassi/load/slowdisk"
)

// R93: how often each call waits for PostgreSQL to respond. docs/performance.md has the
// figures.
func TestRoundTrips(t *testing.T) {
	t.Parallel()
	u, err := url.Parse(dbtest.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	proxy, err := slowdisk.Postgres(t.Context(), u.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = proxy.Close() })
	u.Host = proxy.Addr()
	n := start(t, u.String(), defaults(), 10, newClock())
	if err := n.Stop(t.Context()); err != nil { // its background work would be counted too
		t.Fatal(err)
	}
	plain, raw := secret, ""
	n.add(email, plain)
	for round, check := range []bool{false, true} { // the first time on a connection statements are prepared
		login := func() (err error) { raw, err = n.login(email, plain, home); return err }
		address := fmt.Sprintf("grace%d@example.org", round)
		for _, c := range []struct {
			what  string
			trips int64
			call  func() error
		}{
			{"login from a network not seen for an hour", 3, login},
			{"login", 3, login},
			{"failed login", 2, func() error {
				_, err := n.login(email, "a wrong guess", home)
				want(t, "a guess", err, auth.ErrInvalidUser)
				return nil
			}},
			{"validate-token", 1, func() error { return n.validate(raw) }},
			{"validate-token within 0.8 s", 0, func() error { return n.validate(raw) }},
			{"me within 0.8 s", 0, func() error { return n.me(raw) }},
			{"me", 1, func() error { n.clock.advance(time.Second); return n.me(raw) }},
			{"sign-up", 2, func() error { return n.signUp(address) }},
			{"sign-up of a taken address", 2, func() error { return n.signUp(address) }},
			{"change password", 5, func() (err error) {
				n.clock.advance(time.Second)
				next := plain + " and more"
				raw, err = n.change(raw, plain, next)
				plain = next
				return err
			}},
		} {
			before := proxy.RoundTrips()
			if err := c.call(); err != nil {
				t.Fatalf("%s: %v", c.what, err)
			}
			if got := proxy.RoundTrips() - before; check && got != c.trips {
				t.Errorf("%s: %d round trips, want %d", c.what, got, c.trips)
			}
		}
		n.clock.advance(2 * time.Hour) // no token is good any more
	}
}

func (n *node) signUp(address string) error {
	_, err := n.SignUp(n.t.Context(), &auth.SignUpRequest{Email: address, Password: secret})
	return err
}

func (n *node) me(raw string) error {
	principal, err := n.Principal(n.t.Context(), raw)
	if err != nil {
		return err
	}
	call := &chassi.Call{Peer: netip.AddrPortFrom(netip.MustParseAddr(home), 1234), Principal: principal}
	_, err = n.Me(call.Context(n.t.Context()), &auth.MeRequest{})
	return err
}
