// Package service implements the auth service, one file per use case. It depends on no
// transport and contains no SQL.
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

// Config contains the settings of the service.
type Config struct {
	SignUp   bool            `config:"sign_up" default:"true" help:"allow anyone to create an account with POST /v1/users"`
	Password password.Params `config:"argon2"`
	Policy   password.Policy `config:"password"`
	Token    TokenConfig     `config:"token"`
	Lockout  Lockout         `config:"lockout"`
}

// TokenConfig contains the settings for issuing and verifying tokens.
type TokenConfig struct {
	Algorithm token.Algorithm `config:"algorithm" default:"EdDSA" oneof:"EdDSA,ES256,HS256" help:"algorithm of new signing keys; authd key rotate creates one"`
	Issuer    string          `config:"issuer" default:"authd" help:"the iss claim"`
	Audience  string          `config:"audience" default:"authd" help:"the aud claim"`
	TTL       time.Duration   `config:"ttl" default:"1h" min:"1s" max:"720h" help:"lifetime of a token"`
	Leeway    time.Duration   `config:"leeway" default:"5s" min:"0s" max:"2m" help:"clock difference that is accepted when a token is verified"`
	CacheSize int             `config:"cache_size" default:"10000" min:"1" help:"maximum number of verified tokens kept in memory"`
}

// maxTTL is the maximum of TokenConfig.TTL, as in its tag. The lifetime of a token is compared with
// maxTTL and not with TTL, so that a lower TTL does not invalidate tokens that were issued before.
const maxTTL = 720 * time.Hour

// Options contains the dependencies of the service.
type Options struct {
	Store     *store.Store
	Attempts  store.Attempts // counts failed logins; default Store
	Pool      *workpool.Pool // hashes passwords
	MasterKey []byte         // encrypts the stored signing keys and secrets; nil stores them unencrypted
	// OldMasterKey, if not nil, also decrypts stored signing keys and secrets while the master key
	// is being changed.
	OldMasterKey []byte
	// SealPlainKeys lets Start encrypt keys that were stored without a master key. Use it only while
	// a single node uses the database: nodes without the master key could no longer use the keys.
	SealPlainKeys bool
	Logger        *slog.Logger       // default slog.Default()
	Observe       func(event string) // counts events for metrics; may be nil

	// Now returns the time from which expiry times are computed and with which they are compared.
	// It should be the same on all nodes and in the commands of the program, and should not depend
	// on the clock of one machine; see package clock. The default is time.Now.
	Now func() time.Time
	// Issued returns the issue time written to tokens and the creation time of accounts, which may
	// be behind Now. The default is Now.
	Issued func() time.Time

	// CleanUp, if not nil, deletes further expired data. It is called every ten minutes.
	CleanUp func(ctx context.Context) error
}

// Service implements [auth.Service] and [chassi.Component]: Start loads the signing keys, and
// background jobs keep them up to date. Service is safe for concurrent use.
type Service struct {
	config   Config
	options  Options
	store    *store.Store
	dummy    string // a hash that matches no password, for unknown addresses and locked attempts
	verifier *token.Verifier
	signing  atomic.Pointer[token.KeySet]
	jwks     atomic.Pointer[auth.JWKSResponse]
	keys     *keyState
	sessions *sessions
	refresh  coolDown
	queues   attemptQueues
	hashing  *ratelimit.Usage // concurrent calls of each source that hash passwords
	costs    costs
	hashed   atomic.Int64

	root atomic.Pointer[secrets] // nil until the secrets are loaded

	events *outage.Events // caused by calls while a dependency is unavailable

	stop    context.CancelFunc
	running sync.WaitGroup
}

var (
	_ auth.Service     = (*Service)(nil)
	_ chassi.Component = (*Service)(nil)
)

// New returns a service that has not been started, or an error that names the invalid setting.
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
	if o.CleanUp == nil {
		o.CleanUp = func(context.Context) error { return nil }
	}
	if err := c.Password.Validate(); err != nil {
		return nil, err
	}
	s := &Service{config: c, options: o, store: o.Store, dummy: password.Dummy(c.Password), keys: newKeyState()}
	s.queues.byKey = make(map[string]*attemptQueue)
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

// Start loads the signing keys, the root secret and the kinds of stored password hashes, and starts
// the background jobs. It creates the first key and the root secret if they are missing. Keys that
// cannot be decrypted are not an error (see [Service.CheckKeys]), unless Start is to encrypt keys
// because of Options.SealPlainKeys. If the database is unavailable, the error's code is
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
		return fault(fmt.Errorf("read the kinds of password hashes: %w", err))
	}
	ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	s.running.Go(func() { s.every(ctx, "signing keys", keyPollInterval, s.pollKeys) })
	s.running.Go(func() { s.every(ctx, "kinds of password hashes", costsPollInterval, s.loadCosts) })
	s.running.Go(func() { s.every(ctx, "taken sign-ups", takenInterval, s.store.DeleteTakenSignUps) })
	s.running.Go(func() { s.every(ctx, "clean-up", cleanUpInterval, s.cleanUp) })
	return nil
}

// Stop ends the background jobs and waits for them. It returns nil.
func (s *Service) Stop(context.Context) error {
	s.stop()
	s.running.Wait()
	return nil
}

const (
	cleanUpInterval = 10 * time.Minute
	// takenInterval is the interval at which the placeholder rows of sign-ups with taken addresses
	// are deleted. Together with the rate of hashes it limits the number of these rows.
	takenInterval = time.Minute
	jobTimeout    = 30 * time.Second
)

// every runs job once per interval until ctx is done. A panic ends one run of the job, not the
// process. A failure because the database is unavailable is logged at INFO, because the probe of
// the database logs the outage itself.
func (s *Service) every(ctx context.Context, name string, interval time.Duration, job func(context.Context) error) {
	logger := s.options.Logger.With("job", name)
	failing := outage.New(logger, slog.LevelError, "background job fails", "background job works again")
	waiting := outage.New(logger, slog.LevelInfo, "background job waits for the database", "background job works again")
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			switch err := runJob(ctx, job); {
			case err == nil:
				failing.Succeeded()
				waiting.Succeeded()
			case ctx.Err() != nil:
			case store.IsUnavailable(err):
				waiting.Failed(err)
			default:
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

// cleanUp deletes the counts of failed attempts that have not changed within the lockout window.
// Unless that fails, it also deletes the signing keys that expired more than 24 hours ago and calls
// Options.CleanUp.
func (s *Service) cleanUp(ctx context.Context) error {
	now := s.options.Now()
	if err := s.store.DeleteAttempts(ctx, now.Add(-s.config.Lockout.Window)); err != nil {
		return err
	}
	return errors.Join(s.store.DeleteExpiredKeys(ctx, now.Add(-24*time.Hour)), s.options.CleanUp(ctx))
}

// fault returns the error for the client: [auth.ErrUnavailable] if err means that the database is
// unavailable, and err unchanged otherwise.
func fault(err error) error {
	if store.IsUnavailable(err) {
		return auth.ErrUnavailable.WithCause(err).WithRetryAfter(time.Second)
	}
	return err
}
