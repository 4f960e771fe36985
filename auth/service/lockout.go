package service

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"log/slog"
	"slices"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/auth/store"
)

// Lockout bounds guessing. Each failed login counts against three buckets; a
// bucket that is over its limit is locked for a second, then two, four, and so
// on up to MaxDelay, during which nothing is evaluated:
//
//   - Pair, one account from one network (an IPv4 address, an IPv6 /64);
//   - Account, one account from everywhere;
//   - Network, one network against all accounts, for a minute at most: there may be
//     many people behind one address.
//
// An attempt from a network from which the account has logged in within KnownFor
// counts against its pair alone, so that strangers who keep an account locked, or
// a neighbour who guesses at others', do not lock its owner out.
//
// Accounts that do not exist are counted alike. A successful login clears the
// pair and the account and gives the network its one attempt back. Refused
// attempts count for nothing, so a lock ends by itself. They take the same work as
// others, hash included: neither the answer nor its time tells that there is a lock.
type Lockout struct {
	Pair     int           `config:"pair" default:"5" min:"1" help:"failed logins of one account from one network before delays begin"`
	Account  int           `config:"account" default:"50" min:"1" max:"100" help:"failed logins of one account from all unknown networks"`
	Network  int           `config:"network" default:"100" min:"1" help:"failed logins of one network on all accounts"`
	MaxDelay time.Duration `config:"max_delay" default:"15m" min:"1s" help:"the longest delay"`
	Window   time.Duration `config:"window" default:"24h" min:"1m" help:"failures older than that are forgotten"`
	KnownFor time.Duration `config:"known_for" default:"2160h" min:"1h" help:"how long a network of an earlier login is known"`
}

// attempt is one login that has been counted and not yet settled.
type attempt struct {
	service         *Service
	userID, network string // network is to be remembered, "" for not
	locked          bool   // nothing was counted, and nothing is to be evaluated
	forget, gates   []string
	from            string // the bucket of the network
	counted         []store.Counted
}

const (
	maxNetworkDelay = time.Minute
	// seenInterval is how exactly the time is kept at which a network was last seen.
	seenInterval = time.Hour
	// settleTime bounds what is stored of an attempt whose caller may have gone.
	settleTime = 2 * time.Second
)

// begin counts an attempt before anything is evaluated, unless the account is locked for
// this caller. The attempt is to be ended.
func (s *Service) begin(ctx context.Context, email string, user store.Login) (*attempt, error) {
	network, now := networkOf(ctx), s.options.Now()
	known := user.LastSeen.After(now.Add(-s.config.Lockout.KnownFor))
	limits := s.config.Lockout
	pair, account, from := s.bucketKey("pair", email, network), s.bucketKey("account", email), s.bucketKey("network", network)
	a := &attempt{service: s, userID: user.ID, forget: []string{pair, account}, from: from}
	if !user.LastSeen.After(now.Add(-seenInterval)) {
		a.network = network
	}
	against := []store.Bucket{
		{Key: pair, Limit: limits.Pair, Longest: limits.MaxDelay},
		{Key: account, Limit: limits.Account, Longest: limits.MaxDelay, Exempt: known},
	}
	if network != "" {
		against = append(against, store.Bucket{Key: from, Limit: limits.Network, Longest: min(limits.MaxDelay, maxNetworkDelay), Exempt: known})
	}
	if err := a.reserve(ctx, against); err != nil {
		a.end()
		return nil, err
	}
	return a, nil
}

// reserve counts the attempt against its buckets, unless one is locked.
func (a *attempt) reserve(ctx context.Context, against []store.Bucket) error {
	for _, b := range against {
		if b.Exempt {
			continue
		}
		if err := a.service.gates.enter(ctx, b.Key, b.Limit, a.service.options.Pool.Stats().QueueSize); err != nil {
			return a.service.shed(err)
		}
		a.gates = append(a.gates, b.Key)
	}
	counted, locked, err := a.service.options.Attempts.Reserve(ctx, against, a.service.options.Now(), a.service.config.Lockout.Window)
	a.counted, a.locked = counted, !locked.IsZero()
	return fault(err)
}

// end lets others evaluate theirs.
func (a *attempt) end() {
	for _, key := range a.gates {
		a.service.gates.leave(key)
	}
}

// succeeded clears what the attempt counted, though the caller may have gone: it was
// evaluated, and is no failure.
func (a *attempt) succeeded(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	refund := slices.DeleteFunc(slices.Clone(a.counted), func(c store.Counted) bool { return c.Key != a.from })
	return fault(a.service.options.Attempts.Settle(ctx, a.forget, refund, a.userID, a.network, a.service.options.Now()))
}

// abandoned takes an attempt back that was never evaluated. It has a moment of
// its own, because the caller may have gone.
func (a *attempt) abandoned(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	if err := a.service.options.Attempts.Refund(ctx, a.counted); err != nil {
		a.service.events.Log(slog.LevelWarn, "an attempt that was not evaluated stays counted", "error", err.Error())
	}
}

// networkOf returns where the call comes from, as [chassi.Call.Source] names it; "" in
// process.
func networkOf(ctx context.Context) string {
	if call := chassi.CallFrom(ctx); call != nil {
		return call.Source()
	}
	return ""
}

// bucketKey digests what it counts, under a secret of this installation: addresses are
// easily guessed, and people type passwords into e-mail fields.
func (s *Service) bucketKey(kind string, parts ...string) string {
	h := hmac.New(sha256.New, s.root.Load().lockout)
	for _, part := range parts {
		h.Write([]byte(part))
		h.Write([]byte{0})
	}
	return kind + ":" + base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:18])
}
