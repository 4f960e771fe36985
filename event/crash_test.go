package event_test

import (
	"context"
	"crypto/rand"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/event"
	"github.com/chassi-go/chassi/internal/dbtest"
	"github.com/chassi-go/chassi/internal/rabbittest"
)

// number returns the number in a variable of the environment, by which a test is made longer.
func number(variable string, fallback int) int {
	if n, err := strconv.Atoi(os.Getenv(variable)); err == nil {
		return n
	}
	return fallback
}

// effect is the method of the crash test: it stores the event, and how many of its key were
// stored before.
func effect(ctx context.Context, e *order) error {
	var before int
	tx := event.Tx(ctx)
	if err := tx.QueryRow(ctx, "SELECT count(*) FROM effects WHERE id = $1", e.ID).Scan(&before); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, "INSERT INTO effects (id, number, place) VALUES ($1, $2, $3)", e.ID, e.Number, before)
	return err
}

// publish publishes events of ten keys until the process is killed, not faster than they are
// relayed and handled.
func (d *description) publish(ctx context.Context, topic event.Topic[order]) error {
	from, err := database.Open(ctx, database.Config{URL: d.From, QueryTimeout: patience, MaxOpen: 2})
	if err != nil {
		return err
	}
	to, err := database.Open(ctx, database.Config{URL: d.To, QueryTimeout: patience, MaxOpen: 2})
	if err != nil {
		return err
	}
	process := rand.Text()
	for i := 0; ; {
		err := from.Write(ctx, func(ctx context.Context, tx *database.Tx) error {
			for key := range 10 {
				e := order{process + strconv.Itoa(key), i}
				if _, err := tx.Exec(ctx, "INSERT INTO published (id, number) VALUES ($1, $2)", e.ID, e.Number); err != nil {
					return err
				}
				if err := topic.Publish(ctx, tx, &e); err != nil {
					return err
				}
			}
			return nil
		})
		switch {
		case err == nil:
			i++
		case !database.IsUnavailable(err): // nor is it known whether it is stored: another process has other keys
			return err
		}
		for waiting := 1000; waiting > 200; <-time.After(10 * time.Millisecond) {
			var relayed, handled int
			if from.QueryRow(ctx, "SELECT count(*) FROM chassi_outbox").Scan(&relayed) == nil &&
				to.QueryRow(ctx, "SELECT count(*) FROM chassi_tasks").Scan(&handled) == nil {
				waiting = relayed + handled
			}
		}
	}
}

// Publishers, relays and subscribers are killed at random. Each event that was committed has its
// effect exactly once, in the order of its key; none becomes a dead letter, and nothing is left.
// CHASSI_CRASH_KILLS=1000 CHASSI_CRASH_EVENTS=100000 CHASSI_CRASH_MINUTES=35 is the long form.
func TestCrash(t *testing.T) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		url := dbtest.SQLite(t)
		crash(t, setup{From: url, To: url})
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		var s setup
		if os.Getenv(crashKills) == "" {
			s.From = dbtest.Postgres(t)
		} else {
			s, _ = postgresNode(t) // the shared server is for short tests
		}
		s.To = s.From
		crash(t, s)
	})
}

// The same with a broker between two databases, in the long form only.
func TestCrashBroker(t *testing.T) {
	if os.Getenv(crashKills) == "" {
		return // TestOutage has the short form
	}
	t.Parallel()
	databases := map[string]func(*testing.T) setup{
		"sqlite":   func(t *testing.T) setup { return setup{From: dbtest.SQLite(t), To: dbtest.SQLite(t)} },
		"postgres": func(t *testing.T) setup { s, _ := postgresNode(t); return s },
	}
	for name, databases := range databases {
		t.Run("nats/"+name, func(t *testing.T) {
			t.Parallel()
			s := databases(t)
			s.Broker = freeNATS(t)
			server := setup{From: t.TempDir(), Broker: s.Broker}
			server.start(t, serves)
			crash(t, s)
		})
		t.Run("amqp/"+name, func(t *testing.T) {
			t.Parallel()
			s := databases(t)
			s.Broker, s.Prefix = amqpPrefix(t, rabbittest.URL(t))
			crash(t, s)
		})
	}
}

// Variables that make the crash test longer.
const (
	crashKills  = "CHASSI_CRASH_KILLS"
	crashEvents = "CHASSI_CRASH_EVENTS"
	crashTime   = "CHASSI_CRASH_MINUTES" // after which there are no further kills
)

// prepare creates the tables of a test with nodes, and registers the subscription.
func (s *setup) prepare(t *testing.T) (from, to *database.DB) {
	t.Helper()
	from = open(t, s.From)
	to = from
	if s.To != s.From {
		to = open(t, s.To)
	}
	for _, db := range []*database.DB{from, to} {
		must(t, event.Migrate(t.Context(), db))
	}
	for _, st := range []struct {
		db  *database.DB
		sql string
	}{
		{from, "CREATE TABLE published (id TEXT NOT NULL, number BIGINT NOT NULL)"},
		{to, "CREATE TABLE effects (id TEXT NOT NULL, number BIGINT NOT NULL, place BIGINT NOT NULL)"},
		{to, "CREATE INDEX effects_id ON effects (id)"},
	} {
		_, err := st.db.Exec(t.Context(), st.sql)
		must(t, err)
	}
	var o event.Options
	eventually(t, "the subscription is declared", func() bool {
		var err error
		o.Backend, err = s.backend()
		must(t, err)
		topic := event.NewTopic[order](topicName)
		o.Logger = quiet
		server := event.NewServer(to, o)
		must(t, server.Add(event.Subscribe(topic, "sub", effect, event.HoldKey, event.Transactional)))
		if err = server.Start(t.Context()); err != nil { // the broker starts
			server.Close()
			return false
		}
		must(t, server.Stop(context.Background()))
		return true
	})
	return from, to
}

func crash(t *testing.T, s setup) {
	t.Helper()
	kills, events := number(crashKills, 6), number(crashEvents, 0)
	from, to := s.prepare(t)
	began := time.Now()
	roles := []role{publishes, relays, subscribes, subscribes}
	var nodes []*exec.Cmd
	for _, r := range roles {
		nodes = append(nodes, s.start(t, r))
	}
	end := began.Add(time.Duration(number(crashTime, 60)) * time.Minute)
	for k := range kills {
		if time.Now().After(end) {
			kills = k
			break
		}
		n := count(t, to, "SELECT count(*) FROM effects")
		life := time.Now().Add(time.Duration(mathrand.IntN(400)) * time.Millisecond)
		eventually(t, "events are published and handled", func() bool {
			return time.Now().After(life) && count(t, to, "SELECT count(*) FROM effects") > n &&
				(count(t, from, "SELECT count(*) FROM published") >= events/kills*(k+1) || time.Now().After(end))
		})
		i := mathrand.IntN(len(nodes))
		kill(t, nodes[i])
		nodes[i] = s.start(t, roles[i])
		if (k+1)%100 == 0 {
			_, _ = fmt.Fprintf(os.Stderr, "%s: %d kills after %v\n", t.Name(), k+1, time.Since(began).Round(time.Second))
		}
	}
	kill(t, nodes[0]) // publishes no more
	s.complete(t, from, to)
	published := count(t, from, "SELECT count(*) FROM published")
	took := time.Since(began)
	for _, n := range nodes[1:] {
		kill(t, n)
	}
	t.Logf("%d events, %d kills in %v: each effect once, in order; no dead letter, outbox and tasks are empty", published, kills, took.Round(time.Second))
}

// complete waits until all events are handled, and checks that each has its effect once and in
// order, that no event is a dead letter and that nothing is left.
func (s *setup) complete(t *testing.T, from, to *database.DB) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Logf("%d published, %d in the outbox; tasks by state and tries: %v; %d effects",
				count(t, from, "SELECT count(*) FROM published"), count(t, from, "SELECT count(*) FROM chassi_outbox"),
				texts(t, to, "SELECT state || ': ' || count(*) || ', at most ' || max(tries) || ', ' || max(last_error) FROM chassi_tasks GROUP BY state"),
				count(t, to, "SELECT count(*) FROM effects"))
		}
	}()
	eventually(t, "all events are handled", func() bool {
		return count(t, to, "SELECT count(*) FROM effects") >= count(t, from, "SELECT count(*) FROM published")
	})
	idle(t, from, to)
	if strings.HasPrefix(s.Broker, "amqp:") {
		conn, err := amqp.Dial(s.Broker)
		must(t, err)
		defer conn.Close()
		ch, err := conn.Channel()
		must(t, err)
		eventually(t, "the queue is empty", func() bool {
			n, err := ch.QueueDeclarePassive(s.Prefix+".event.sub", true, false, false, false, nil)
			must(t, err)
			return n.Messages == 0
		})
	}
	list := func(db *database.DB, query string) map[order]int {
		rows, err := db.Query(t.Context(), query)
		must(t, err)
		found := make(map[order]int)
		for rows.Next() {
			var o order
			must(t, rows.Scan(&o.ID, &o.Number))
			found[o]++
		}
		must(t, rows.Err())
		must(t, rows.Close())
		return found
	}
	effects := list(to, "SELECT id, number FROM effects")
	wrong := 0
	for o := range list(from, "SELECT id, number FROM published") {
		if effects[o] != 1 {
			wrong++
		}
		delete(effects, o)
	}
	if wrong > 0 || len(effects) > 0 {
		t.Errorf("%d events do not have their effect once; %d effects are of no event", wrong, len(effects))
	}
	if n := count(t, to, "SELECT count(*) FROM effects WHERE number <> place"); n > 0 {
		t.Errorf("%d events were handled out of order", n)
	}
	if n := count(t, to, "SELECT count(*) FROM chassi_dead"); n > 0 {
		t.Errorf("%d events are dead letters", n)
	}
	if n := count(t, from, "SELECT count(*) FROM chassi_outbox"); n > 0 {
		t.Errorf("%d rows are left in the outbox", n)
	}
}
