// Command tasks keeps a list of tasks in SQLite or PostgreSQL. It is the service of docs/guide.
//
//	export TASKS_KEYS_WRITER=$(openssl rand -hex 16)
//	go run ./examples/tasks
//	curl -H "X-API-Key: $TASKS_KEYS_WRITER" localhost:8080/v1/tasks --json '{"title":"buy milk"}'
package main

import (
	"context"
	"crypto/sha256"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/config"
	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/middleware"
	"github.com/chassi-go/chassi/schema"
	"github.com/chassi-go/chassi/schema/apidocs"
	"github.com/chassi-go/chassi/standard"
	"github.com/chassi-go/chassi/standard/grpcserver"
	"github.com/chassi-go/chassi/standard/sqldb"
	"github.com/chassi-go/chassi/telemetry/exporters"
)

// Config is the configuration of the program.
type Config struct {
	standard.Config

	GRPC     grpcserver.Config `config:"grpc"`
	Database database.Config   `config:"database"`
	Keys     Keys              `config:"keys"`
	Keep     time.Duration     `config:"keep" default:"720h" min:"1m" help:"how long completed tasks are kept"`
	ReadOnly bool              `config:"read_only" help:"refuse calls that change tasks"`
}

// Keys are the API keys of clients.
type Keys struct {
	Reader config.Secret `config:"reader" help:"API key of clients that may list tasks"`
	Writer config.Secret `config:"writer" help:"API key of clients that may change them, too"`
}

// Validate returns an error if an API key is set and has fewer than 32 bytes.
func (c *Config) Validate() error {
	for name, key := range map[string]config.Secret{"keys.reader": c.Keys.Reader, "keys.writer": c.Keys.Writer} {
		if key != "" && len(key) < 32 {
			return fmt.Errorf("%s must have at least 32 characters; create one with: openssl rand -hex 16", name)
		}
	}
	return nil
}

func main() { program().Main() }

func program() standard.Program[Config] {
	return standard.Program[Config]{
		Name: "tasks", Version: "1.0.0", Help: "Tasks keeps a list of tasks.",
		Defaults: Config{Database: database.Config{URL: "sqlite:tasks.db"}},
		About:    about, Setup: setup, TraceExporters: exporters.All(),
		Commands: []standard.Command[Config]{
			sqldb.MigrateCommand(func(c *Config) database.Config { return c.Database }, migrations()),
			{Name: "count", Settings: "database", Help: "print the number of open tasks", Run: countOpen},
		},
	}
}

// about describes the service in the schema documents.
var about = schema.Info{Title: "tasks", Version: "1.0.0", Description: "Tasks to do."}

//go:embed migrations
var files embed.FS

// migrations returns the migrations for both database engines.
func migrations() fs.FS {
	sub, err := fs.Sub(files, "migrations")
	if err != nil {
		panic(err) // the name of the folder is above
	}
	return sub
}

// setup adds the components and endpoints of the program to app. It makes no network connections,
// but opens the SQLite file if it exists.
func setup(ctx context.Context, app *standard.App, c *Config) error {
	grpcserver.Add(app, c.GRPC)

	db, err := sqldb.Add(ctx, app, c.Database, migrations())
	if err != nil {
		return err
	}
	count, err := app.Telemetry.RegisterEvents("tasks_events_total", "Tasks added, completed and deleted.")
	if err != nil {
		return err
	}
	tracer := app.Telemetry.Tracer.Tracer("tasks")
	svc := &tasks{db: db, count: count, keep: c.Keep, span: func(ctx context.Context, name string) (context.Context, func()) {
		ctx, span := tracer.Start(ctx, name)
		return ctx, func() { span.End() }
	}}
	app.Add(chassi.Background("purge", chassi.RestartOnExit, svc.purge))

	app.AddAuthenticator(middleware.APIKeys(c.Keys.list()...))
	app.Stack.InsertAfter(standard.RateLimitPeer, middleware.Layer{Name: "read_only", Middleware: refuseWrites(c.ReadOnly)})
	app.Mount(Endpoints(svc, audit(app.Logger)))
	return errors.Join(app.Describe(about), apidocs.Mount(app, apidocs.Options{Title: about.Title}))
}

// list returns the keys that are set.
func (k Keys) list() (keys []middleware.APIKey) {
	if k.Reader != "" {
		keys = append(keys, middleware.APIKey{Name: "reader", Digest: sha256.Sum256([]byte(k.Reader)), Permissions: []string{CanRead}})
	}
	if k.Writer != "" {
		keys = append(keys, middleware.APIKey{Name: "writer", Digest: sha256.Sum256([]byte(k.Writer)), Permissions: []string{CanRead, CanWrite}})
	}
	return keys
}

// audit returns a middleware that logs the endpoint and the principal of each successful call.
func audit(logger *slog.Logger) chassi.Middleware {
	return func(b *chassi.Binding, next chassi.Handler) chassi.Handler {
		return func(ctx context.Context, call *chassi.Call) error {
			err := next(ctx, call)
			name := "anonymous"
			if call.Principal != nil { // it is nil in a call of a public endpoint
				name = call.Principal.Name
			}
			if err == nil {
				logger.InfoContext(ctx, "audit", "endpoint", b.Endpoint.FullName(), "principal", name)
			}
			return err
		}
	}
}

var errReadOnly = chassi.NewError(chassi.Unavailable, "read_only", "Tasks cannot be changed at present")

// refuseWrites returns a middleware that, if on is true, returns errReadOnly for each call of an
// endpoint that is not idempotent.
func refuseWrites(on bool) chassi.Middleware {
	return func(b *chassi.Binding, next chassi.Handler) chassi.Handler {
		if !on || b.Endpoint.Idempotent() {
			return next
		}
		return func(context.Context, *chassi.Call) error { return errReadOnly.WithRetryAfter(time.Minute) }
	}
}

// countOpen implements the command count: it prints the number of open tasks.
func countOpen(ctx context.Context, i *standard.Invocation[Config]) error {
	db, err := database.OpenReadOnly(ctx, i.Config.Database)
	if err != nil {
		return err
	}
	var n int
	err = db.QueryRow(ctx, "SELECT count(*) FROM tasks WHERE done_at IS NULL").Scan(&n)
	if err = errors.Join(err, db.Close()); err != nil {
		return err
	}
	_, err = fmt.Fprintln(i.Out, n)
	return err
}
