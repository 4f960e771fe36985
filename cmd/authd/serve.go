package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/auth"
	"github.com/chassi-go/chassi/auth/service"
	"github.com/chassi-go/chassi/auth/store"
	"github.com/chassi-go/chassi/config"
	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/internal/memlimit"
	"github.com/chassi-go/chassi/middleware"
	"github.com/chassi-go/chassi/ratelimit"
	"github.com/chassi-go/chassi/standard"
	"github.com/chassi-go/chassi/standard/sqldb"
	"github.com/chassi-go/chassi/telemetry"
	"github.com/chassi-go/chassi/workpool"
)

// serve is the wiring, top to bottom.
func serve(ctx context.Context, p *program) error {
	var svc *service.Service
	std, err := standard.New(ctx, "authd", version(), p.config.Config, standard.Options{
		Log: p.err,
		Authenticators: []middleware.Authenticator{middleware.Bearer(func(ctx context.Context, raw string) (*chassi.Principal, error) {
			return svc.Principal(ctx, raw)
		})},
	})
	if err != nil {
		return err //nolint:wrapcheck // says where
	}
	fail := func(err error) error { return errors.Join(err, std.Telemetry.Stop(ctx)) }

	hashing, err := p.fitHashing(p.poolOptions(), memlimit.Container(), std.Telemetry.Logger)
	if err != nil {
		return fail(err)
	}
	db, err := database.Open(ctx, p.config.Database)
	if err != nil {
		return fail(err)
	}
	p.declareDatabase(std, db)
	pool := newHashingPool(hashing)
	masters, err := p.masterKeys()
	if err != nil {
		return fail(err)
	}
	count, err := std.Telemetry.RegisterEvents("authd_events_total", "What happened, by kind.")
	if err != nil {
		return fail(err)
	}
	users := store.New(db)
	shared, err := watchClocks(std, users)
	if err != nil {
		return fail(err)
	}
	svc, err = service.New(p.config.Auth.Config, service.Options{
		Store: users, Attempts: countAttempts(std, users), Pool: pool, Logger: std.Telemetry.Logger, Observe: count,
		Tidy: tidy(db), Now: shared.Now, Issued: shared.Source,
		MasterKey: masters.current, OldMasterKey: masters.old, SealPlainKeys: db.Dialect() == database.SQLite,
	})
	if err != nil {
		return fail(err)
	}
	endpoints := p.endpoints(std, svc)
	std.Manage(chassi.ServerFunc("systemd", notifySystemd, nil)) // before what may be away
	if err := errors.Join(
		sqldb.Manage(std, db, store.Migrations(), func(ctx context.Context) error { return welcome(ctx, p, std, db) }),
		observe(std.Telemetry, pool), observeDisk(std.Telemetry, db), p.takeKeys(std, db, svc, endpoints), watchKeys(std, svc),
	); err != nil {
		return fail(err)
	}
	std.Manage(
		warnOfRoom(db, std.Telemetry.Logger),
		chassi.ServerFunc("clock", func(ctx context.Context) error { return startClock(ctx, shared) }, shared.Stop),
		chassi.ServerFunc("hashing", nil, pool.Stop),
		svc,
		newReloader(p, std),
	)
	std.Mount(endpoints)
	if err := std.Describe(about, described()); err != nil {
		return fail(err)
	}
	return std.Run(ctx) //nolint:wrapcheck // says where
}

func (p *program) endpoints(std *standard.Standard, svc *service.Service) *chassi.Service {
	endpoints := auth.Endpoints(svc)
	endpoints.Use(limitSignUps(std.Limiter("sign_up", ratelimit.New(ratelimit.Options{Limit: p.config.SignUpRate}))))
	return endpoints
}

// countAttempts is where failed logins are counted.
func countAttempts(std *standard.Standard, users *store.Store) store.Attempts {
	if std.Redis == nil {
		return users
	}
	return store.NewSharedAttempts(users, std.Redis.Patient(time.Second), func() { std.FellBack("lockout") })
}

func (p *program) poolOptions() workpool.Options {
	o := workpool.Options{Name: "hashing", Workers: p.config.Hash.Workers, Queue: p.config.Hash.Queue}
	if o.Workers == 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	if o.Queue == 0 {
		o.Queue = 16 * o.Workers
	}
	return o
}

func newHashingPool(o workpool.Options) *workpool.Pool {
	giveRoom(o.Workers)
	return workpool.New(o)
}

// giveRoom lets the operating system, which takes turns within a few milliseconds, share the
// cores among the passwords that are hashed and all else: Go's scheduler would let a
// token wait until a hash has had its 10 ms, and the next one. A P for every second hash
// does it; one for each costs a fifth of the logins, for the collector uses them too.
// GOMAXPROCS decides where it is set.
func giveRoom(hashing int) {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + max(1, hashing/2))
	}
}

// welcome tells a new operator what to do: there is no default account.
func welcome(ctx context.Context, p *program, std *standard.Standard, db *database.DB) error {
	users, err := store.New(db).Users(ctx, "", 1)
	if err != nil || len(users) > 0 {
		return err //nolint:wrapcheck // says where
	}
	how := "authd user add you@example.com"
	if p.config.SignUp {
		how += ", or POST /v1/users"
	}
	std.Telemetry.Logger.Info("there is no account yet; make the first one", "how", how)
	return nil
}

// observe shows the pool.
func observe(t *telemetry.Telemetry, pool *workpool.Pool) error {
	return t.RegisterPool("hashing", func() telemetry.PoolStats { //nolint:wrapcheck // says where
		s := pool.Stats()
		return telemetry.PoolStats{
			Workers: s.Workers, Busy: s.Busy, Queued: s.Queued, QueueSize: s.QueueSize,
			Submitted: s.Submitted, Completed: s.Completed, Refused: s.Refused, Canceled: s.Canceled, Panics: s.Panics,
		}
	})
}

// reloader applies a changed configuration, on SIGHUP and when the file changes.
type reloader struct {
	program *program
	std     *standard.Standard
	hangups chan os.Signal
	mu      sync.Mutex
	stop    context.CancelFunc
	running sync.WaitGroup
}

// newReloader makes SIGHUP, which ends a program by default and is sent when a terminal
// closes, wait from now on until the reloader has started.
func newReloader(p *program, std *standard.Standard) *reloader {
	r := &reloader{program: p, std: std, hangups: make(chan os.Signal, 1)}
	signal.Notify(r.hangups, syscall.SIGHUP)
	return r
}

// Name returns "reload".
func (r *reloader) Name() string { return "reload" }

// Start acts on SIGHUP and watches the file.
func (r *reloader) Start(context.Context) error {
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	r.running.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-r.hangups:
				r.reload("SIGHUP")
			}
		}
	})
	if file := r.program.report.File; file != "" {
		r.running.Go(func() { config.Watch(ctx, time.Second, []string{file}, func() { r.reload(file + " changed") }) })
	}
	return nil
}

// Stop ends both. A hangup later is ignored: the program ends anyway.
func (r *reloader) Stop(context.Context) error {
	r.stop()
	r.running.Wait()
	return nil
}

func (r *reloader) reload(why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	logger := r.std.Telemetry.Logger
	cfg, report, err := r.program.reload()
	if file := r.program.report.File; err == nil && file != "" && report.File == "" {
		err = fmt.Errorf("the configuration file %s is gone; put it back, or restart without it", file)
	}
	if err == nil {
		err = r.std.Reload(cfg.Config)
	}
	if err != nil {
		logger.Error("the configuration cannot be used: the old one stays", "why", why, "error", err.Error())
		return
	}
	for _, change := range config.Changed(r.program.report, report) {
		if change.Reloadable {
			logger.Info("setting changed", "setting", change.Key, "value", change.Value)
		} else {
			logger.Warn("setting changed, needs a restart", "setting", change.Key, "value", change.Value)
		}
	}
	r.program.report = report
	logger.Info("configuration reloaded", "why", why)
}
