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

// Lockout contains the limits of password guessing. Each failed login counts against three buckets;
// an in-process login, which has no network, does not count against the third.
// The failure that reaches the limit of a bucket locks the bucket for one second, the next failure
// for two seconds, then four, and so on up to MaxDelay. While a bucket is locked, attempts that would
// count against it are rejected without an evaluation of the password. The buckets are:
//
//   - Pair: one account from one network, which is an IPv4 address, an IPv6 /64 or, without an
//     address, the name of a client at a broker;
//   - Account: one account from all networks;
//   - Network: one network against all accounts, locked for at most a minute,
//     because many people may share an address.
//
// An attempt from a network from which the account has logged in within KnownFor counts only
// against its pair, so that guesses from other networks, or against other accounts from the same
// network, do not lock out the owner of the account.
//
// Attempts against unknown accounts are counted in the same way. A successful login clears the pair
// and the account and refunds its own attempt to the network. Attempts rejected because of a lock are
// not counted, so a lock always expires. For such an attempt, the password is verified against a hash
// that matches no password, so that neither the response nor its time reveals the lock.
type Lockout struct {
	Pair     int           `config:"pair" default:"5" min:"1" help:"failed logins of one account from one network before delays begin"`
	Account  int           `config:"account" default:"50" min:"1" max:"100" help:"failed logins of one account from all networks that it has not logged in from recently"`
	Network  int           `config:"network" default:"100" min:"1" help:"failed logins of one network on all accounts"`
	MaxDelay time.Duration `config:"max_delay" default:"15m" min:"1s" help:"maximum delay"`
	Window   time.Duration `config:"window" default:"24h" min:"1m" help:"time without further attempts after which failed logins no longer count"`
	KnownFor time.Duration `config:"known_for" default:"2160h" min:"1h" help:"how long a network stays known after a successful login"`
}

// attempt is one login, or one check of an old password, in progress. Its failure is counted in
// advance, unless locked is true.
type attempt struct {
	service         *Service
	userID, network string // network is stored as known unless ""
	locked          bool   // a bucket is locked: nothing was counted, and no password may be evaluated
	clear, acquired []string
	from            string // the bucket of the network
	counted         []store.Counted
}

const (
	maxNetworkDelay = time.Minute
	// seenInterval is the resolution of the time at which a network was last seen.
	seenInterval = time.Hour
	// settleTime is the timeout for storing the outcome of an attempt whose context may be done.
	settleTime = 2 * time.Second
)

// begin counts an attempt before its password is evaluated, unless a bucket is locked, and returns
// the attempt. The caller must call end on it.
func (s *Service) begin(ctx context.Context, email string, user store.Login) (*attempt, error) {
	network, now := networkOf(ctx), s.options.Now()
	known := user.LastSeen.After(now.Add(-s.config.Lockout.KnownFor))
	limits := s.config.Lockout
	pair, account, from := s.bucketKey("pair", email, network), s.bucketKey("account", email), s.bucketKey("network", network)
	a := &attempt{service: s, userID: user.ID, clear: []string{pair, account}, from: from}
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

// reserve waits in the queues of the buckets that are not exempt, and then counts the attempt against
// these buckets, unless one of them is locked.
func (a *attempt) reserve(ctx context.Context, against []store.Bucket) error {
	for _, b := range against {
		if b.Exempt {
			continue
		}
		if err := a.service.queues.acquire(ctx, b.Key, b.Limit, a.service.options.Pool.Stats().QueueSize); err != nil {
			return a.service.shed(err)
		}
		a.acquired = append(a.acquired, b.Key)
	}
	counted, locked, err := a.service.options.Attempts.Reserve(ctx, against, a.service.options.Now(), a.service.config.Lockout.Window)
	a.counted, a.locked = counted, !locked.IsZero()
	return fault(err)
}

// end removes the attempt from the queues of its buckets.
func (a *attempt) end() {
	for _, key := range a.acquired {
		a.service.queues.release(key)
	}
}

// succeeded clears the pair and the account, refunds the failure counted against the network, and
// stores the network as known, unless that was done less than seenInterval ago. It does so even if
// ctx is done.
func (a *attempt) succeeded(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	refund := slices.DeleteFunc(slices.Clone(a.counted), func(c store.Counted) bool { return c.Key != a.from })
	return fault(a.service.options.Attempts.Settle(ctx, a.clear, refund, a.userID, a.network, a.service.options.Now()))
}

// abandoned refunds an attempt whose password was not evaluated, even if ctx is done. An error is
// logged.
func (a *attempt) abandoned(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	if err := a.service.options.Attempts.Refund(ctx, a.counted); err != nil {
		a.service.events.Log(slog.LevelWarn, "an attempt that was not evaluated stays counted", "error", err.Error())
	}
}

// networkOf returns the source of the call (see [chassi.Call.Source]), or "" for an in-process
// call.
func networkOf(ctx context.Context) string {
	if call := chassi.CallFrom(ctx); call != nil {
		return call.Source()
	}
	return ""
}

// bucketKey returns the key of a bucket: its kind and an HMAC of its identity under a secret of
// this installation. The HMAC hides the identity, because addresses can be guessed and people type
// passwords into e-mail fields.
func (s *Service) bucketKey(kind string, parts ...string) string {
	h := hmac.New(sha256.New, s.root.Load().lockout)
	for _, part := range parts {
		h.Write([]byte(part))
		h.Write([]byte{0})
	}
	return kind + ":" + base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:18])
}
