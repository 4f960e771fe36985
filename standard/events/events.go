// Package events adds events to an App of package standard, and commands to its command line.
//
//	server := events.Add(app, db, c.Events)
//	server.Publishes(OrderCreated)
//	server.Subscribe(event.Subscribe(OrderCreated, "confirmation-mail", mailer.Confirm))
//
// Events are delivered within the database, unless the setting events.backend names one of the
// backends that the program passes to [Add]. Packages natsevents and amqpevents below this one
// provide backends.
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

// Config configures events. It is the type of a field of a program's configuration, usually with
// the tag `config:"events"`.
type Config struct {
	Backend string `config:"backend" default:"sql" help:"what delivers events: sql is the database; others are those that the program has, such as nats and amqp"`
}

// Backend describes a backend for events that the setting events.backend can select.
type Backend struct {
	Name string // value of events.backend that selects the backend
	Open func(app *standard.App) (event.Backend, error)
}

// Events contains the topics and the subscriptions of an App. It is returned by [Add].
type Events struct {
	app    *standard.App
	topics []event.AnyTopic
	subs   []*event.Subscription
}

// Add adds events to app, with their tables in db. The database must have been added to app before.
// The calls of subscriptions pass through the middleware of app, on the transport "event". The
// backend that c names delivers the events; if it is unknown, [standard.App.Run] returns an error.
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

// Publishes declares topics to which the program publishes events, so that the server relays the
// events as soon as they are committed. Publishes must be called before the App runs.
func (e *Events) Publishes(topics ...event.AnyTopic) {
	e.topics = append(e.topics, topics...)
	for _, t := range topics {
		e.app.AddTopic(schema.Topic{Event: t.Endpoint(), Send: true})
	}
}

// Subscribe adds subscriptions, to which the server delivers events. It must be called before the
// App runs.
func (e *Events) Subscribe(subscriptions ...*event.Subscription) {
	e.subs = append(e.subs, subscriptions...)
	for _, s := range subscriptions {
		e.app.AddTopic(schema.Topic{Event: s.Event(), Receive: true})
	}
}

// find returns the function that opens the named backend, or nil for the database ("sql"). It
// returns an error if the name is unknown.
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
	return nil, fmt.Errorf("events.backend (%q): want one of %s", name, strings.Join(names, ", "))
}
