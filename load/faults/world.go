package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/load/accounts"
	"github.com/chassi-go/chassi/password"
)

// cheap contains password hashing parameters with a low cost, because the cost of hashing is not
// measured here.
var cheap = password.Params{Memory: 7168, Time: 1, Parallelism: 1, SaltLen: 16, KeyLen: 32}

// world is the environment of one cell: the node, its settings and its dependencies.
type world struct {
	*servers
	program  string // the path of authd
	name     string // name of everything that the cell creates on a server
	dir      string
	database string // the URL of the database, not of a proxy
	args     []string
	env      []string
	proxy    *proxy   // in front of the server that fails, or nil
	stderr   *os.File // the file to which the log goes; nil keeps it in memory
	clients  clients
	node     *node
	undo     []func() error // run from last to first

	postgres  *postgres
	vhost     *vhost
	collector *collector
	disk      string
}

func newWorld(s *servers, program string) (*world, error) {
	dir, err := os.MkdirTemp(memory(), "faults")
	if err != nil {
		return nil, err
	}
	w := &world{servers: s, program: program, dir: dir, name: "faults_" + strings.ToLower(rand.Text()[:12])}
	w.later(func() error { return os.RemoveAll(dir) })
	return w, nil
}

// memory returns a directory in memory, so that a busy disk does not affect the results, or "" if
// there is no such directory.
func memory() string {
	const dir = "/dev/shm"
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return dir
	}
	return ""
}

func (w *world) later(undo func() error) { w.undo = append(w.undo, undo) }

func (w *world) close() error {
	var errs []error
	for _, undo := range slices.Backward(w.undo) {
		errs = append(errs, undo())
	}
	return errors.Join(errs...)
}

func (w *world) set(settings ...string) { w.args = append(w.args, settings...) }

// before starts the proxy in front of server, a host:port.
func (w *world) before(server string) (err error) {
	if w.proxy, err = newProxy(server); err == nil {
		w.later(func() error { w.proxy.close(); return nil })
	}
	return err
}

// useSQLite creates an SQLite database in dir and configures the node to use it. It is for the
// cells that do not use PostgreSQL.
func (w *world) useSQLite(ctx context.Context, dir string) error {
	w.database = "sqlite:" + filepath.Join(dir, "authd.db")
	w.set("--database.url=" + w.database)
	return w.fill(ctx)
}

func (w *world) usePostgres(ctx context.Context) (err error) {
	if err := reach(ctx, w.servers.postgres); err != nil {
		return err
	}
	if w.postgres, err = w.newPostgres(ctx, w.name); err != nil {
		return err
	}
	w.later(w.postgres.drop)
	if err := w.before(w.servers.postgres.Host); err != nil {
		return err
	}
	direct := at(w.servers.postgres, w.servers.postgres.Host, w.name, secret)
	direct.Path = "/" + w.name
	w.database = direct.String()
	w.set("--database.url=" + at(direct, w.proxy.addr, w.name, secret).String())
	return w.fill(ctx)
}

// repetitions contains the statements, by dialect, that record the IDs of sign-ups whose address
// was taken. Each address is used once, so each of these sign-ups was carried out twice.
var repetitions = map[database.Dialect][]string{
	database.SQLite: {
		"CREATE TABLE faults_repeated (id TEXT NOT NULL)",
		"CREATE TRIGGER faults_repeated AFTER INSERT ON taken_sign_ups BEGIN INSERT INTO faults_repeated VALUES (NEW.id); END",
	},
	database.Postgres: {
		"CREATE TABLE faults_repeated (id TEXT NOT NULL)",
		"CREATE FUNCTION faults_repeat() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO faults_repeated VALUES (NEW.id); RETURN NULL; END'",
		"CREATE TRIGGER faults_repeated AFTER INSERT ON taken_sign_ups FOR EACH ROW EXECUTE FUNCTION faults_repeat()",
	},
}

// fill creates the schema of the database and one account, and runs the statements in repetitions.
func (w *world) fill(ctx context.Context) (err error) {
	db, err := database.Open(ctx, database.Config{URL: w.database})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if _, err := accounts.Seed(ctx, db, accounts.Seeding{Users: 1, Params: cheap}); err != nil {
		return err
	}
	for _, text := range repetitions[db.Dialect()] {
		if _, err := db.Exec(ctx, text); err != nil {
			return err
		}
	}
	return nil
}

// ledger contains what the database stores at the end of a measurement: the addresses and the
// number of repeated sign-ups.
type ledger struct {
	addresses map[string]bool
	repeated  int
}

func (w *world) readLedger(ctx context.Context) (l ledger, err error) {
	db, err := database.OpenReadOnly(ctx, database.Config{URL: w.database})
	if err != nil {
		return l, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	l.addresses = make(map[string]bool)
	rows, err := db.Query(ctx, "SELECT email FROM users")
	if err != nil {
		return l, err
	}
	defer rows.Close()
	for rows.Next() {
		var address string
		if err := rows.Scan(&address); err != nil {
			return l, err
		}
		l.addresses[address] = true
	}
	return l, errors.Join(rows.Err(), db.QueryRow(ctx, "SELECT COUNT(*) FROM faults_repeated").Scan(&l.repeated))
}

func (w *world) useRedis(ctx context.Context) error {
	if err := reach(ctx, w.redis); err != nil {
		return err
	}
	if err := w.redisCommands(ctx, w.redisUser(secret, "+@all")); err != nil {
		return err
	}
	w.later(func() error {
		return w.redisCommands(context.Background(), "ACL DELUSER "+w.name, fmt.Sprintf(deleteKeys, w.name))
	})
	if err := w.before(w.redis.Host); err != nil {
		return err
	}
	w.set("--redis.url="+at(w.redis, w.proxy.addr, w.name, secret).String(), "--redis.prefix="+w.name+":")
	return w.useSQLite(ctx, w.dir)
}

// deleteKeys is the format of the Redis command that deletes all keys of a cell. Its argument is
// the name of the cell.
const deleteKeys = `EVAL "for _, key in ipairs(redis.call('KEYS', ARGV[1])) do redis.call('DEL', key) end return 1" 0 %s:*`

// redisUser returns the command that creates or replaces the Redis user of the cell, with a
// password and ACL rules.
func (w *world) redisUser(password, rights string) string {
	return fmt.Sprintf("ACL SETUSER %s reset on >%s ~%s:* &* %s", w.name, password, w.name, rights)
}

func (w *world) useNATS(ctx context.Context) error {
	if err := reach(ctx, w.nats); err != nil {
		return err
	}
	if err := w.before(w.nats.Host); err != nil {
		return err
	}
	node := *w.nats
	node.Host = w.proxy.addr
	w.set("--nats.url="+node.String(), "--nats.prefix="+w.name)
	if err := w.clients.dialNATS(ctx, w.nats.String(), w.name); err != nil {
		return err
	}
	return w.useSQLite(ctx, w.dir)
}

func (w *world) useAMQP(ctx context.Context, user string) (err error) {
	if err := reach(ctx, w.amqp); err != nil {
		return err
	}
	if w.vhost, err = w.servers.vhost(); err != nil {
		return err
	}
	if err := w.before(w.amqp.Host); err != nil {
		return err
	}
	w.set("--amqp.url="+w.vhost.url(user, w.proxy.addr), "--amqp.prefix="+w.name)
	if err := w.clients.dialAMQP(ctx, w.vhost.url("service", w.amqp.Host), w.name); err != nil {
		return err
	}
	return w.useSQLite(ctx, w.dir)
}

// collector is the handler of a server that accepts traces in OTLP over HTTP.
type collector struct {
	status atomic.Int32 // the status code of its responses
	taken  atomic.Int64 // the number of accepted exports
}

func (w *world) useCollector(ctx context.Context) error {
	c := &collector{}
	c.status.Store(http.StatusOK)
	l, err := listen()
	if err != nil {
		return err
	}
	server := &http.Server{Handler: c, ReadHeaderTimeout: callTimeout}
	go server.Serve(l) //nolint:errcheck // ends with Close
	w.later(server.Close)
	w.collector = c
	if err := w.before(l.Addr().String()); err != nil {
		return err
	}
	w.set("--trace.exporter=otlp-http", "--trace.ratio=1", "--trace.endpoint="+(&url.URL{Scheme: "http", Host: w.proxy.addr}).String())
	w.env = append(w.env, "OTEL_BSP_SCHEDULE_DELAY=250")
	return w.useSQLite(ctx, w.dir)
}

// ServeHTTP responds to an export with the configured status code. The empty body of the response
// is an empty ExportTraceServiceResponse.
func (c *collector) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	status := int(c.status.Load())
	if status == http.StatusOK {
		c.taken.Add(1)
		w.Header().Set("Content-Type", "application/x-protobuf")
	}
	w.WriteHeader(status)
}
