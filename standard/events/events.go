// Package events adds events to an App of package standard, and commands to its command line.
//
//	server := events.Add(app, db, c.Events)
//	server.Publishes(OrderCreated)
//	server.Subscribe(event.Subscribe(OrderCreated, "confirmation-mail", mailer.Confirm))
//
// Events are delivered within the database, unless events.backend names one of the backends
// that the program passes to Add, see packages natsevents and amqpevents below this one.
package events

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/event"
	"github.com/chassi-go/chassi/schema"
	"github.com/chassi-go/chassi/standard"
	"github.com/chassi-go/chassi/standard/internal/tasks"
)

// Config configures events. It is the type of a field of a program's configuration, usually with the
// tag `config:"events"`.
type Config struct {
	Backend string `config:"backend" default:"sql" help:"what delivers events: sql is the database; others are those that the program has, such as nats and amqp"`
}

// Backend is a way to deliver events that a program can be configured to use.
type Backend struct {
	Name string // the value of events.backend
	Open func(app *standard.App) (event.Backend, error)
}

// Events is the server of an App's events.
type Events struct {
	app    *standard.App
	topics []event.AnyTopic
	subs   []*event.Subscription
}

// Add adds events to app, with their tables in db, which must have been added before. The calls of
// subscriptions pass through the middleware of app, on the transport "event".
func Add(app *standard.App, db *database.DB, c Config, backends ...Backend) *Events {
	e := &Events{app: app}
	open, err := find(c.Backend, backends)
	app.Fail(err)
	count, err := app.Telemetry.RegisterEvents("events_total", "Events, by what happened to them.")
	app.Fail(err)
	app.Add(chassi.ComponentFunc("events_tables", func(ctx context.Context) error { return event.Migrate(ctx, db) }, nil))
	app.AddTransport(standard.Transport{New: func(middleware []chassi.Middleware) (chassi.Transport, error) {
		o := event.Options{Logger: app.Logger, Outgoing: app.Outgoing, Observe: count}
		if open != nil {
			backend, err := open(app)
			if err != nil {
				return nil, err
			}
			o.Backend = backend
		}
		server := event.NewServer(db, o, middleware...)
		return server, errors.Join(server.Publishes(e.topics...), server.Add(e.subs...), tasks.Register(app, server.Gauges()))
	}})
	return e
}

// Publishes declares topics that the program publishes, so that the server relays their events at
// once.
func (e *Events) Publishes(topics ...event.AnyTopic) {
	e.topics = append(e.topics, topics...)
	for _, t := range topics {
		e.app.AddTopic(schema.Topic{Event: t.Endpoint(), Send: true})
	}
}

// Subscribe adds subscriptions, to which the server delivers events.
func (e *Events) Subscribe(subscriptions ...*event.Subscription) {
	e.subs = append(e.subs, subscriptions...)
	for _, s := range subscriptions {
		e.app.AddTopic(schema.Topic{Event: s.Event(), Receive: true})
	}
}

// find returns the function that opens the backend, or nil for sql.
func find(name string, backends []Backend) (func(*standard.App) (event.Backend, error), error) {
	names := []string{"sql"}
	for _, b := range backends {
		if b.Name == name {
			return b.Open, nil
		}
		names = append(names, b.Name)
	}
	if name == "" || name == "sql" {
		return nil, nil //nolint:nilnil // sql needs none
	}
	return nil, fmt.Errorf("events.backend: %q: want one of %s", name, strings.Join(names, ", "))
}
