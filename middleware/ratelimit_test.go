package middleware_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/calltest"
	"github.com/chassi-go/chassi/middleware"
	"github.com/chassi-go/chassi/ratelimit"
)

func limiter(l ratelimit.Limit) *ratelimit.Limiter {
	at := time.Now()
	return ratelimit.New(ratelimit.Options{Limit: l, Now: func() time.Time { return at }})
}

func own(_ string, l ratelimit.Limit) middleware.Limiter { return limiter(l) }

func TestRateLimitPeer(t *testing.T) {
	t.Parallel()
	mw := middleware.RateLimitPeer(limiter(ratelimit.Per(2, time.Minute)), own)
	for _, c := range []struct {
		addr, state string
		ok          bool
	}{
		{"192.0.2.1", `"peer";r=1;t=30`, true}, {"192.0.2.1", `"peer";r=0;t=60`, true}, {"192.0.2.1", `"peer";r=0;t=60`, false},
		{"::ffff:192.0.2.1", `"peer";r=0;t=60`, false}, // the same address
		{"192.0.2.2", `"peer";r=1;t=30`, true},
		{"2001:db8:1:2::1", `"peer";r=1;t=30`, true}, {"2001:db8:1:2:ffff::9", `"peer";r=0;t=60`, true},
		{"2001:db8:1:2::3", `"peer";r=0;t=60`, false}, // one /64
		{"2001:db8:1:3::1", `"peer";r=1;t=30`, true},
	} {
		th := calltest.New(calltest.Fine, chassi.Public)
		th.Call.Peer = netip.AddrPortFrom(netip.MustParseAddr(c.addr), 1)
		err := th.Run(t.Context(), mw)
		if policy, state := th.Call.Out.Get("RateLimit-Policy"), th.Call.Out.Get("RateLimit"); policy != `"peer";q=2;w=60` || state != c.state {
			t.Errorf("%s: policy %s, state %s, want %s", c.addr, policy, state, c.state)
		}
		if c.ok {
			if err != nil {
				t.Errorf("%s: %v", c.addr, err)
			}
			continue
		}
		e := chassi.ErrorOf(err)
		if e.Code != chassi.ResourceExhausted || e.Reason != "rate_limited" || e.RetryAfter != 30*time.Second || th.Body.Decoded > 0 {
			t.Errorf("%s: %v, retry after %v, body read %d times", c.addr, err, e.RetryAfter, th.Body.Decoded)
		}
	}
}

// A client that is far from the limit receives no headers.
func TestRateLimitHeadersFromHalfOfTheQuota(t *testing.T) {
	t.Parallel()
	mw := middleware.RateLimitPeer(limiter(ratelimit.Per(6, time.Minute)), own)
	for i, state := range []string{"", "", `"peer";r=3;t=30`, `"peer";r=2;t=40`, `"peer";r=1;t=50`, `"peer";r=0;t=60`, `"peer";r=0;t=60`} {
		th := calltest.New(calltest.Fine, chassi.Public)
		_ = th.Run(t.Context(), mw)
		if got := th.Call.Out.Get("RateLimit"); got != state || (th.Call.Out.Get("RateLimit-Policy") != "") != (state != "") {
			t.Errorf("call %d: state %s, want %s", i+1, got, state)
		}
	}
}

// Clients of a broker are counted by the name that the broker gives them, and all whom it
// gives none together; calls in process are not counted.
func TestRateLimitPeerCountsClientsOfBrokers(t *testing.T) {
	t.Parallel()
	mw := middleware.RateLimitPeer(limiter(ratelimit.Per(1, time.Minute)), own)
	for _, c := range []struct {
		addr, name string
		ok         bool
	}{
		{"", "nats:alice", true}, {"", "nats:alice", false}, {"", "nats:bob", true}, {"", "amqp:alice", true},
		{"", "nats:", true}, {"", "nats:", false},
		{"192.0.2.1", "nats:gateway", true}, {"192.0.2.2", "nats:gateway", true}, {"192.0.2.1", "nats:gateway", false}, // what a gateway forwards
		{"", "", true}, {"", "", true},
	} {
		th := calltest.New(calltest.Fine, chassi.Public)
		if th.Call.PeerName, th.Call.Peer = c.name, (netip.AddrPort{}); c.addr != "" {
			th.Call.Peer = netip.AddrPortFrom(netip.MustParseAddr(c.addr), 0)
		}
		if err := th.Run(t.Context(), mw); (err == nil) != c.ok {
			t.Errorf("%q %q: %v", c.addr, c.name, err)
		}
	}
}

// An endpoint's own rate is counted apart.
func TestRateLimitOfAnEndpoint(t *testing.T) {
	t.Parallel()
	mw := middleware.RateLimitPeer(limiter(ratelimit.Per(100, time.Second)), own)
	th := calltest.New(calltest.Fine, chassi.Public, chassi.RateLimit(1, time.Hour))
	handler := th.Binding.Handler(mw)
	if err := handler(th.Call.Context(t.Context()), th.Call); err != nil {
		t.Error(err)
	}
	if err := handler(th.Call.Context(t.Context()), th.Call); chassi.ErrorOf(err).Code != chassi.ResourceExhausted {
		t.Errorf("%v, want the endpoint's limit", err)
	}
	if got := th.Call.Out.Get("RateLimit-Policy"); got != `"Do";q=1;w=3600` {
		t.Errorf("policy %s", got)
	}
	if err := calltest.New(calltest.Fine, chassi.Public).Run(t.Context(), mw); err != nil {
		t.Errorf("another endpoint: %v", err)
	}
}

func TestRateLimitPrincipal(t *testing.T) {
	t.Parallel()
	mw := middleware.RateLimitPrincipal(limiter(ratelimit.Per(1, time.Minute)))
	for i, c := range []struct {
		principal *chassi.Principal
		ok        bool
	}{
		{nil, true}, {nil, true},
		{&chassi.Principal{Subject: "ada", Scheme: "bearer"}, true}, {&chassi.Principal{Subject: "ada", Scheme: "bearer"}, false},
		{&chassi.Principal{Subject: "ada", Scheme: "api_key"}, true}, {&chassi.Principal{Subject: "bob", Scheme: "bearer"}, true},
	} {
		th := calltest.New(calltest.Fine, chassi.Public)
		th.Call.Principal = c.principal
		th.Call.Peer = netip.AddrPortFrom(netip.MustParseAddr(fmt.Sprintf("192.0.2.%d", i)), 1) // wherever it calls from
		if err := th.Run(t.Context(), mw); (err == nil) != c.ok {
			t.Errorf("call %d of %+v: %v", i, c.principal, err)
		}
	}
}

// Without a limit no header is sent; a changed limit is sent at once (T21).
func TestT21LimitsThatAreOffOrChange(t *testing.T) {
	t.Parallel()
	l := limiter(ratelimit.Off())
	mw := middleware.RateLimitPeer(l, own)
	th := calltest.New(calltest.Fine, chassi.Public)
	if err := th.Run(t.Context(), mw); err != nil || th.Call.Out.Get("RateLimit") != "" || th.Call.Out.Get("RateLimit-Policy") != "" {
		t.Errorf("%v, %v", err, th.Call.Out)
	}
	handler := th.Binding.Handler(mw)
	for _, burst := range []int{10, 20} {
		l.SetLimit(ratelimit.Per(burst, time.Second))
		for range burst / 2 {
			_ = handler(th.Call.Context(t.Context()), th.Call)
		}
		if got, want := th.Call.Out.Get("RateLimit-Policy"), fmt.Sprintf(`"peer";q=%d;w=1`, burst); got != want {
			t.Errorf("policy %s, want %s", got, want)
		}
	}
	// In process there is no peer to limit.
	local := calltest.New(calltest.Fine, chassi.Public)
	local.Call.Peer = netip.AddrPort{}
	l.SetLimit(ratelimit.Limit{})
	if err := local.Run(t.Context(), mw); err != nil {
		t.Error(err)
	}
	if err := calltest.New(calltest.Fine, chassi.Public).Run(t.Context(), mw); chassi.ErrorOf(err).Code != chassi.ResourceExhausted {
		t.Errorf("%v: a limit that is no limit refuses every call", err)
	}
}
