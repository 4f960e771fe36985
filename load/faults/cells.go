package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"time"
)

// cell is one combination of a dependency and a fault in the matrix.
type cell struct {
	dependency, fault string
	short             bool // whether the cell is part of the short form

	prepare func(ctx context.Context, w *world) error
	atStart bool // whether the fault begins before the node starts
	begin   func(ctx context.Context, w *world) error
	end     func(ctx context.Context, w *world) error // nil if the fault does not end
	expect  expectation
}

func (c *cell) String() string { return c.dependency + ", " + c.fault }

// expectation describes what must hold for a cell during the fault. verdict.go checks the
// conditions that must hold for all cells.
type expectation struct {
	up      []string // probes that stay up; the others may fail
	ready   bool     // whether the node must stay ready; otherwise it must not be ready at the end
	reason  string   // text that the readiness status must contain; "" for no requirement
	refuses string   // text in the log with which the node may exit at start; "" if it must not exit
}

// Names of probes, which are the kinds of calls to the node. probeKeys requests the JWK Set.
const (
	probeLive  = "healthz"
	probeReady = "readyz"
	probeKeys  = "JWKS"
)

// checkDatabase is the name of the database in the readiness status.
const checkDatabase = "database"

// Groups of probes. Each group extends the one before it.
var (
	alive = []string{probeLive}
	keys  = append(slices.Clip(alive), probeKeys)
	reads = append(slices.Clip(keys), "validate", "gRPC")
	all   = append(slices.Clip(reads), "login", "sign-up")
)

// refuse, hang and the function that slow returns begin a fault of the proxy. pass ends the fault.
func refuse(_ context.Context, w *world) error { w.proxy.refuse(); return nil }
func hang(_ context.Context, w *world) error   { w.proxy.hang(); return nil }
func pass(_ context.Context, w *world) error   { return w.proxy.pass() }

func slow(roundTrip time.Duration) func(context.Context, *world) error {
	return func(_ context.Context, w *world) error { w.proxy.slow(roundTrip / 2); return nil }
}

// behindProxy returns the cells of a server behind a proxy. The expectation atStart applies if the
// server is unavailable from the start, away if it becomes unavailable later, and late if it is
// slow.
func behindProxy(dependency string, prepare func(context.Context, *world) error, atStart, away, late expectation) []*cell {
	cells := []*cell{
		{fault: "away at start", atStart: true, begin: refuse, expect: atStart},
		{fault: "killed", begin: refuse, expect: away},
		{fault: "hung", begin: hang, expect: away},
		{fault: "slow, 100 ms", begin: slow(100 * time.Millisecond), expect: late},
		{fault: "slow, 300 ms", begin: slow(300 * time.Millisecond), expect: late},
	}
	for _, c := range cells {
		c.dependency, c.prepare, c.end = dependency, prepare, pass
	}
	return cells
}

// silent changes cells, the cells that behindProxy returned for a broker, and returns them. It
// removes the requirement that the readiness status names the broker while the broker is hung. A
// client detects a hung broker only by missing responses to its pings, which takes longer than the
// fault lasts.
func silent(cells []*cell) []*cell {
	cells[2].expect.reason = ""
	return cells
}

// allCells returns all cells of the matrix.
func allCells() []*cell {
	return slices.Concat(postgresCells(), redisCells(), natsCells(), amqpCells(), collectorCells(), diskCells(), logCells(), clockCells())
}

func postgresCells() []*cell {
	prepare := func(ctx context.Context, w *world) error { return w.usePostgres(ctx) }
	away := expectation{up: keys, reason: checkDatabase}
	cells := behindProxy("PostgreSQL", prepare, expectation{up: alive, reason: checkDatabase}, away, expectation{up: reads, ready: true})
	cells[2].short = true // hung
	alter := func(format string) func(context.Context, *world) error {
		return func(ctx context.Context, w *world) error {
			if err := w.postgres.exec(ctx, fmt.Sprintf(format, w.name)); err != nil {
				return err
			}
			return w.postgres.disconnect(ctx)
		}
	}
	return append(cells,
		&cell{
			dependency: "PostgreSQL", fault: "read-only", prepare: prepare, expect: expectation{up: reads, reason: "read-only"},
			begin: alter("ALTER DATABASE %s SET default_transaction_read_only = on"), end: alter("ALTER DATABASE %s RESET default_transaction_read_only"),
		},
		&cell{
			dependency: "PostgreSQL", fault: "full", prepare: prepare, expect: expectation{up: reads, reason: checkDatabase},
			begin: func(ctx context.Context, w *world) error { return w.postgres.fill(ctx, w.database) },
			end:   func(ctx context.Context, w *world) error { return w.postgres.empty(ctx, w.database) },
		},
		&cell{
			dependency: "PostgreSQL", fault: "wrong credentials", prepare: prepare, expect: away,
			begin: alter("ALTER ROLE %s NOLOGIN"), end: alter("ALTER ROLE %s LOGIN"), // a password is not looked at where the server trusts its clients
		},
		&cell{
			dependency: "PostgreSQL", fault: "wrong credentials at start", prepare: prepare, atStart: true,
			expect: expectation{up: alive, reason: checkDatabase},
			begin:  alter("ALTER ROLE %s NOLOGIN"), end: alter("ALTER ROLE %s LOGIN"),
		})
}

func redisCells() []*cell {
	prepare := func(ctx context.Context, w *world) error { return w.useRedis(ctx) }
	away := expectation{up: all, ready: true, reason: "redis"}
	cells := behindProxy("Redis", prepare, away, away, expectation{up: all, ready: true})
	cells[1].short = true // killed
	user := func(password, rights string) func(context.Context, *world) error {
		return func(ctx context.Context, w *world) error {
			err := w.redisCommands(ctx, w.redisUser(password, rights))
			w.proxy.reset() // a connection keeps the login that it has
			return err
		}
	}
	return append(cells,
		&cell{
			dependency: "Redis", fault: "read-only", prepare: prepare, expect: away,
			begin: user(secret, "+@all -@write -@scripting"), end: user(secret, "+@all"),
		},
		&cell{
			dependency: "Redis", fault: "wrong credentials", prepare: prepare, expect: away,
			begin: user("another"+secret, "+@all"), end: user(secret, "+@all"),
		})
}

func natsCells() []*cell {
	prepare := func(ctx context.Context, w *world) error { return w.useNATS(ctx) }
	away := expectation{up: all, ready: true, reason: "nats"}
	cells := silent(behindProxy("NATS", prepare, away, away, expectation{up: append(slices.Clip(all), "NATS"), ready: true}))
	cells[0].short = true // away at start
	return append(cells, &cell{
		dependency: "NATS", fault: "wrong credentials", prepare: prepare, expect: away,
		begin: func(ctx context.Context, w *world) error {
			server, err := w.startNATS(ctx)
			if err == nil {
				w.proxy.lead(server)
			}
			return err
		},
		end: func(_ context.Context, w *world) error { w.proxy.lead(w.nats.Host); return nil },
	})
}

func amqpCells() []*cell {
	prepare := func(user string) func(context.Context, *world) error {
		return func(ctx context.Context, w *world) error { return w.useAMQP(ctx, user) }
	}
	away := expectation{up: all, ready: true, reason: "amqp"}
	cells := silent(behindProxy("RabbitMQ", prepare("service"), away, away, expectation{up: append(slices.Clip(all), "AMQP"), ready: true}))
	password := func(password string) func(context.Context, *world) error {
		return func(_ context.Context, w *world) error {
			err := w.vhost.control("", "change_password", w.vhost.user("changed"), password)
			w.proxy.reset()
			return err
		}
	}
	return append(cells, &cell{
		dependency: "RabbitMQ", fault: "wrong credentials", prepare: prepare("changed"), expect: away,
		begin: password("another" + secret), end: password(secret),
	})
}

func collectorCells() []*cell {
	prepare := func(ctx context.Context, w *world) error { return w.useCollector(ctx) }
	up := expectation{up: all, ready: true}
	response := func(status int32) func(context.Context, *world) error {
		return func(_ context.Context, w *world) error { w.collector.status.Store(status); return nil }
	}
	return append(behindProxy("collector", prepare, up, up, up),
		&cell{
			dependency: "collector", fault: "full (503)", prepare: prepare, expect: up,
			begin: response(http.StatusServiceUnavailable), end: response(http.StatusOK),
		},
		&cell{
			dependency: "collector", fault: "wrong credentials (401)", prepare: prepare, expect: up,
			begin: response(http.StatusUnauthorized), end: response(http.StatusOK),
		})
}

func diskCells() []*cell {
	prepare := func(ctx context.Context, w *world) error { return w.useDisk(ctx) }
	return []*cell{
		{
			dependency: "disk (SQLite)", fault: "full", prepare: prepare, short: true, expect: expectation{up: reads, reason: "full"},
			begin: func(_ context.Context, w *world) error { return w.fillDisk() },
			end:   func(_ context.Context, w *world) error { return w.emptyDisk() },
		},
		{
			dependency: "disk (SQLite)", fault: "read-only at start", prepare: prepare, atStart: true,
			expect: expectation{up: alive, reason: checkDatabase, refuses: "authd.db"},
			begin:  func(_ context.Context, w *world) error { return w.remount(true) },
			end:    func(_ context.Context, w *world) error { return w.remount(false) },
		},
	}
}

func logCells() []*cell {
	prepare := func(ctx context.Context, w *world) error { return w.useSQLite(ctx, w.dir) }
	up := expectation{up: all, ready: true}
	return []*cell{
		{
			dependency: "log reader", fault: "hung", prepare: prepare, short: true, expect: up,
			begin: func(_ context.Context, w *world) error { w.node.block(); return nil },
			end:   func(_ context.Context, w *world) error { w.node.unblock(); return nil },
		},
		{
			dependency: "log reader", fault: "killed", prepare: prepare, expect: up,
			begin: func(_ context.Context, w *world) error { return w.node.stderr.Close() },
		},
		{
			dependency: "log file", fault: "full", atStart: true, expect: up,
			prepare: func(ctx context.Context, w *world) (err error) {
				if w.stderr, err = os.OpenFile("/dev/full", os.O_WRONLY, 0); err != nil {
					return err
				}
				w.later(w.stderr.Close)
				return prepare(ctx, w)
			},
			begin: func(context.Context, *world) error { return nil },
		},
	}
}

func clockCells() []*cell {
	var cells []*cell
	step := func(by time.Duration) func(context.Context, *world) error {
		return func(_ context.Context, w *world) error { return w.stepClock(by) }
	}
	for _, by := range []struct {
		name string
		step time.Duration
	}{{"1 h ahead", time.Hour}, {"1 h back", -time.Hour}, {"1 d ahead", 24 * time.Hour}, {"1 d back", -24 * time.Hour}} {
		cells = append(cells, &cell{
			dependency: "clock of the node", fault: by.name, expect: expectation{up: all, ready: true},
			prepare: func(ctx context.Context, w *world) error { return w.useClock(ctx) },
			begin:   step(by.step), end: step(0),
		})
	}
	return cells
}
