// Command orders is a service that accepts orders. It uses a database, a work queue, accounts at
// authd and the HTTP API of a warehouse.
//
//	go run ./cmd/authd serve                                     # in one terminal, and in another:
//	ORDERS_IDEMPOTENCY_SECRET=$(openssl rand -hex 32) go run ./examples/orders \
//	    --auth.target=127.0.0.1:9090 --warehouse.url=https://warehouse.example --nats.embedded.store_dir=orders-nats \
//	    --http.addr=127.0.0.1:8090 --admin.addr=127.0.0.1:8091 --grpc.addr=127.0.0.1:8092
//	curl -H "Authorization: Bearer $TOKEN" -H "Idempotency-Key: $(uuidgen)" \
//	    127.0.0.1:8090/v1/orders --json '{"product":"tea","quantity":2}'
//	curl -H "Authorization: Bearer $TOKEN" '127.0.0.1:8090/v1/orders?status=confirmed&sort=largest'
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/auth"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/client/httpclient"
	"github.com/chassi-go/chassi/config"
	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/event"
	"github.com/chassi-go/chassi/job"
	"github.com/chassi-go/chassi/middleware"
	"github.com/chassi-go/chassi/schema"
	"github.com/chassi-go/chassi/schema/apidocs"
	"github.com/chassi-go/chassi/standard"
	"github.com/chassi-go/chassi/standard/events"
	"github.com/chassi-go/chassi/standard/events/natsevents"
	"github.com/chassi-go/chassi/standard/grpcserver"
	"github.com/chassi-go/chassi/standard/jobs"
	"github.com/chassi-go/chassi/standard/natsembedded"
	"github.com/chassi-go/chassi/standard/remote"
	"github.com/chassi-go/chassi/standard/sqldb"
	"github.com/chassi-go/chassi/telemetry/exporters"
	"github.com/chassi-go/chassi/transport/grpcapi"
)

// Config is the configuration of the program.
type Config struct {
	standard.Config

	GRPC      grpcserver.Config   `config:"grpc"`
	NATS      natsembedded.Config `config:"nats"`
	Database  database.Config     `config:"database"`
	Auth      remote.Config       `config:"auth"`
	Events    events.Config       `config:"events"`
	Mail      MailConfig          `config:"mail"`
	Warehouse WarehouseConfig     `config:"warehouse"`
	Staff     []string            `config:"staff" help:"e-mail addresses of the accounts that may ship orders"`
	Secret    config.Secret       `config:"idempotency.secret" help:"at least 32 random characters (openssl rand -hex 32), the same on all nodes"`
}

// WarehouseConfig configures the calls to the warehouse.
type WarehouseConfig struct {
	URL string `config:"url" format:"url:http,https" help:"of the HTTP API of the warehouse"`

	httpclient.Config
}

// check returns an error for each required setting that is missing or too short.
func (c *Config) check() error {
	var errs []error
	for setting, value := range map[string]string{
		"auth.target": c.Auth.Target, "warehouse.url": c.Warehouse.URL, "idempotency.secret": c.Secret.Reveal(),
	} {
		if value == "" {
			errs = append(errs, fmt.Errorf("%s is missing; run orders serve --help for its description", setting))
		}
	}
	if n := len(c.Secret); n > 0 && n < minSecret {
		errs = append(errs, fmt.Errorf("idempotency.secret has %d bytes; it must have at least %d", n, minSecret))
	}
	return errors.Join(errs...)
}

// minSecret is the minimum length of the idempotency secret in bytes.
const minSecret = 32

func main() { program().Main() }

func program() standard.Program[Config] {
	return standard.Program[Config]{
		Name: "orders", Version: "1.0.0", Help: "Takes orders.", Setup: setup, TraceExporters: exporters.All(),
		Commands: slices.Concat(events.Commands(databaseOf), jobs.Commands(databaseOf),
			[]standard.Command[Config]{sqldb.MigrateCommand(databaseOf, migrations())}),
		Defaults: Config{Database: database.Config{URL: "sqlite:orders.db"}, NATS: natsembedded.Config{URL: "embedded"}},
	}
}

func databaseOf(c *Config) database.Config { return c.Database }

// setup adds the components, endpoints, events and jobs of the program to app.
func setup(ctx context.Context, app *standard.App, c *Config) error {
	app.Fail(c.check()) // needed to serve, and not for the command schema
	users, err := users(app, c)
	if err != nil {
		return err
	}
	app.AddAuthenticator(middleware.Bearer(withPermissions(users.Principal, c.Staff)))
	db, err := sqldb.Add(ctx, app, c.Database, migrations())
	if err != nil {
		return err
	}
	orders, err := newService(app, c, db)
	if err != nil {
		return err
	}
	grpcserver.Add(app, c.GRPC)
	broker := natsembedded.Add(app, c.NATS)
	publisher := natsembedded.AddPublisher(app, c.NATS, broker, queue)
	app.Add(chassi.Background("queue_orders", chassi.RestartOnExit, func(ctx context.Context) error { return orders.Queue(ctx, publisher) }))
	app.Consume(queue, WorkEndpoints(orders).Endpoint("ConfirmOrder"))
	topics := events.Add(app, db, c.Events, natsevents.Backend(c.NATS, broker))
	topics.Publishes(OrdersCreated)
	topics.Subscribe(event.Subscribe(OrdersCreated, "order-mail", (&Mailer{config: c.Mail, logger: app.Logger}).Created))
	jobs.Add(app, db, job.Cron("purge", "30 3 * * *", orders.Purge, job.In("Europe/Lisbon")))
	endpoints := Endpoints(orders, app.Logger)
	secret := func(context.Context) ([]byte, error) { return []byte(c.Secret.Reveal()), nil }
	app.Mount(endpoints)
	app.Handle("GET /static/", http.HandlerFunc(servePage), chassi.Public)
	about := schema.Info{Title: "Orders", Version: app.Version}
	return errors.Join(
		sqldb.AddIdempotency(app, db, endpoints, middleware.IdempotencyOptions{Secret: secret}, "CreateOrder"),
		app.Describe(about), apidocs.Mount(app, apidocs.Options{Title: about.Title}))
}

// users returns a client of authd, which is called over gRPC.
func users(app *standard.App, c *Config) (*auth.Client, error) {
	cluster, err := remote.Add(app, "auth", c.Auth, nil, func(addr string) (client.Caller, error) {
		return grpcapi.Dial(grpcapi.ClientConfig{Target: addr})
	})
	if err != nil {
		return nil, err
	}
	return auth.NewClient(cluster, app.Outgoing...)
}

func newService(app *standard.App, c *Config, db *database.DB) (*Orders, error) {
	warehouse, err := remote.HTTPClient(app, "warehouse", c.Warehouse.Config)
	if err != nil {
		return nil, err
	}
	count, err := app.Telemetry.RegisterEvents("orders_total", "Orders, by what happened to them.")
	if err != nil {
		return nil, err
	}
	return newOrders(newStore(db), &Warehouse{url: c.Warehouse.URL, client: warehouse}, app.Telemetry.Tracer.Tracer("orders"), count), nil
}
