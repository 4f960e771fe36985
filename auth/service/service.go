// Package service holds the rules of the auth service, one file per use case. It
// knows no transport and no SQL.
package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/auth"
	"github.com/chassi-go/chassi/auth/store"
	"github.com/chassi-go/chassi/internal/outage"
	"github.com/chassi-go/chassi/password"
	"github.com/chassi-go/chassi/ratelimit"
	"github.com/chassi-go/chassi/token"
	"github.com/chassi-go/chassi/workpool"
)

// Config is what an operator may decide.
type Config struct {
	SignUp   bool            `config:"sign_up" default:"true" help:"let anybody make an account with POST /v1/users"`
	Password password.Params `config:"argon2"`
	Policy   password.Policy `config:"password"`
	Token    TokenConfig     `config:"token"`
	Lockout  Lockout         `config:"lockout"`
}

// TokenConfig is about the tokens that are issued.
type TokenConfig struct {
	Algorithm token.Algorithm `config:"algorithm" default:"EdDSA" oneof:"EdDSA,ES256,HS256" help:"of keys made from now on; key rotate makes one"`
	Issuer    string          `config:"issuer" default:"authd" help:"the iss claim"`
	Audience  string          `config:"audience" default:"authd" help:"the aud claim"`
	TTL       time.Duration   `config:"ttl" default:"1h" min:"1s" max:"720h" help:"life of a token"`
	Leeway    time.Duration   `config:"leeway" default:"5s" min:"0s" max:"2m" help:"allowed difference of clocks when a token is checked"`
	CacheSize int             `config:"cache_size" default:"10000" min:"1" help:"verified tokens kept in memory"`
}

// maxTTL is the bound in TTL's tag. Tokens are held against it and not against the
// TTL, so that lowering that ends no token.
const maxTTL = 720 * time.Hour

// Options are what the service is built from.
type Options struct {
	Store     *store.Store
	Attempts  store.Attempts // where failed logins are counted; default Store
	Pool      *workpool.Pool // where passwords are hashed
	MasterKey []byte         // seals stored signing keys; nil leaves them plain
	// OldMasterKey opens stored signing keys too, while the master key is being changed.
	OldMasterKey []byte
	// SealPlainKeys lets Start seal keys that were stored before there was a master key.
	// It is for a database with one node: others could not open them any more.
	SealPlainKeys bool
	Logger        *slog.Logger
	Observe       func(event string) // counts what happened, for metrics; may be nil

	// Now is the time by which everything ends, on all nodes and for the command line; it
	// should not depend on the clock of one machine, see package clock. Default time.Now.
	Now func() time.Time
	// Issued is the time that tokens show as the one of their issue, which may be behind Now.
	// Default Now.
	Issued func() time.Time

	// Tidy deletes more of what has no effect any more; it may be nil.
	Tidy func(ctx context.Context) error
}

// Service implements [auth.Service]. It is a [chassi.Server] too: started, it
// loads the signing keys and keeps them fresh.
type Service struct {
	config   Config
	options  Options
	store    *store.Store
	dummy    string // a hash that no password fits, for accounts that do not exist
	verifier *token.Verifier
	signing  atomic.Pointer[token.KeySet]
	jwks     atomic.Pointer[auth.JWKSResponse]
	keys     *keyState
	sessions *sessions
	refresh  coolDown
	gates    gates
	hashing  *ratelimit.Usage // places of each source
	costs    costs
	hashed   atomic.Int64

	root atomic.Pointer[secrets] // nil until they are loaded

	events *outage.Events // that calls cause while a dependency is away

	stop    context.CancelFunc
	running sync.WaitGroup
}

var (
	_ auth.Service  = (*Service)(nil)
	_ chassi.Server = (*Service)(nil)
)

// New makes a service, or says what in the configuration cannot be.
func New(c Config, o Options) (*Service, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Issued == nil {
		o.Issued = o.Now
	}
	if o.Attempts == nil {
		o.Attempts = o.Store
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Observe == nil {
		o.Observe = func(string) {}
	}
	if o.Tidy == nil {
		o.Tidy = func(context.Context) error { return nil }
	}
	if err := c.Password.Validate(); err != nil {
		return nil, err
	}
	s := &Service{config: c, options: o, store: o.Store, dummy: password.Dummy(c.Password), keys: newKeyState()}
	s.gates.byKey = make(map[string]*gateway)
	s.hashing = ratelimit.NewUsage()
	s.events = outage.NewEvents(o.Logger, 0)
	s.costs.set([]password.Params{c.Password})
	s.sessions = newSessions(o.Store, o.Now)
	s.verifier = token.NewVerifier(token.Options{
		Issuer: c.Token.Issuer, Audience: c.Token.Audience, Leeway: c.Token.Leeway,
		MaxLifetime: maxTTL, CacheSize: c.Token.CacheSize, Now: o.Now,
	}, nil)
	return s, nil
}

// Name returns "auth".
func (s *Service) Name() string { return "auth" }

// Start loads the signing keys and the root secret, making the first ones if there are
// none, and what kinds of password hashes there are. Keys that cannot be opened do not keep
// it from starting, see [Service.CheckKeys]. While the database is away its error is
// [chassi.Unavailable].
func (s *Service) Start(ctx context.Context) error {
	if err := s.loadKeys(ctx); err != nil {
		return fault(err)
	}
	if s.options.SealPlainKeys && s.keys.report.Load().exposed {
		if _, err := s.RewrapKeys(ctx); err != nil {
			return fault(err)
		}
		if err := s.loadKeys(ctx); err != nil {
			return fault(err)
		}
	}
	if err := s.loadCosts(ctx); err != nil {
		return fault(fmt.Errorf("kinds of password hashes: %w", err))
	}
	ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	s.running.Go(func() { s.every(ctx, "signing keys", keyPollInterval, s.pollKeys) })
	s.running.Go(func() { s.every(ctx, "kinds of password hashes", costsPollInterval, s.loadCosts) })
	s.running.Go(func() { s.every(ctx, "taken sign-ups", takenInterval, s.store.ForgetTakenSignUps) })
	s.running.Go(func() { s.every(ctx, "clean-up", tidyInterval, s.tidy) })
	return nil
}

// Stop ends the background work.
func (s *Service) Stop(context.Context) error {
	s.stop()
	s.running.Wait()
	return nil
}

const (
	tidyInterval = 10 * time.Minute
	// takenInterval bounds, with the rate of hashes, how many rows sign-ups of taken
	// addresses leave.
	takenInterval = time.Minute
	jobTimeout    = 30 * time.Second
)

// every runs job until ctx ends. A panic ends one run of the job, not the
// process.
func (s *Service) every(ctx context.Context, name string, interval time.Duration, job func(context.Context) error) {
	failing := outage.New(s.options.Logger.With("job", name), slog.LevelError, "background job fails", "background job works again")
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if err := runJob(ctx, job); err == nil {
				failing.Succeeded()
			} else if ctx.Err() == nil {
				failing.Failed(err)
			}
		}
	}
}

func runJob(ctx context.Context, job func(context.Context) error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = chassi.Recovered(v)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, jobTimeout)
	defer cancel()
	return job(ctx)
}

// tidy deletes what has no effect any more.
func (s *Service) tidy(ctx context.Context) error {
	now := s.options.Now()
	if err := s.store.ForgetAttempts(ctx, now.Add(-s.config.Lockout.Window)); err != nil {
		return err
	}
	return errors.Join(s.store.ForgetSigningKeys(ctx, now.Add(-24*time.Hour)), s.options.Tidy(ctx))
}

// fault turns an error of the store into what a caller sees: "try later" for a
// database that cannot be used now, a hidden fault for anything else.
func fault(err error) error {
	if store.IsUnavailable(err) {
		return auth.ErrUnavailable.WithCause(err).WithRetryAfter(time.Second)
	}
	return err
}
