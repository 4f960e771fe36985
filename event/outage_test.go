package event_test

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/event"
	"github.com/chassi-go/chassi/internal/dbtest"
	"github.com/chassi-go/chassi/internal/rabbittest"
)

// outageRounds is how often each server is killed; it also adds what takes long to start.
const outageRounds = "CHASSI_OUTAGE_ROUNDS"

// resumption is within what time after the return of a server events are handled again.
const resumption = 3 * time.Second

// killed is a server that a test kills and starts again.
type killed struct {
	name  string
	kill  func()
	start func() (ready time.Time)
}

// A broker and PostgreSQL are killed with SIGKILL and start again: events are handled again within
// three seconds, each has its effect once and in order, and nothing is left.
// CHASSI_OUTAGE_ROUNDS=10 is the long form.
func TestOutage(t *testing.T) {
	t.Parallel()
	isLong := os.Getenv(outageRounds) != ""
	t.Run("sql/postgres", func(t *testing.T) {
		t.Parallel()
		s, db := postgresNode(t)
		s.To = s.From
		outage(t, s, db)
	})
	t.Run("nats/postgres", func(t *testing.T) {
		t.Parallel()
		s, db := postgresNode(t)
		outage(t, s, natsNode(t, &s), db)
	})
	t.Run("amqp/postgres", func(t *testing.T) {
		t.Parallel()
		s, db := postgresNode(t)
		if isLong {
			outage(t, s, rabbitNode(t, &s), db)
			return
		}
		s.Broker, s.Prefix = amqpPrefix(t, rabbittest.URL(t))
		outage(t, s, db)
	})
	if !isLong {
		return
	}
	t.Run("nats/sqlite", func(t *testing.T) {
		t.Parallel()
		s := setup{From: dbtest.SQLite(t), To: dbtest.SQLite(t)}
		outage(t, s, natsNode(t, &s))
	})
	t.Run("amqp/sqlite", func(t *testing.T) {
		t.Parallel()
		s := setup{From: dbtest.SQLite(t), To: dbtest.SQLite(t)}
		outage(t, s, rabbitNode(t, &s))
	})
}

// postgresNode starts a server with two databases.
func postgresNode(t *testing.T) (setup, killed) {
	t.Helper()
	n := dbtest.NewPostgresNode(t)
	db, err := sql.Open("pgx", n.URL)
	must(t, err)
	defer db.Close()
	for _, name := range []string{"publisher", "subscriber"} {
		_, err := db.ExecContext(t.Context(), "CREATE DATABASE "+name)
		must(t, err)
	}
	in := func(name string) string { return strings.Replace(n.URL, "/postgres?", "/"+name+"?", 1) }
	return setup{From: in("publisher"), To: in("subscriber")},
		killed{"PostgreSQL", func() { n.Kill(t) }, func() time.Time { n.Start(t); return n.Ready(t) }}
}

// natsNode starts a server for s.
func natsNode(t *testing.T, s *setup) killed {
	t.Helper()
	s.Broker = freeNATS(t)
	server := setup{From: t.TempDir(), Broker: s.Broker}
	var node *exec.Cmd
	k := killed{"NATS", func() { kill(t, node) }, func() time.Time {
		node = server.start(t, serves)
		var conn *nats.Conn
		eventually(t, "NATS accepts connections", func() (ok bool) {
			var err error
			conn, err = nats.Connect(s.Broker)
			return err == nil
		})
		defer conn.Close()
		js, err := jetstream.New(conn)
		must(t, err)
		eventually(t, "JetStream is ready", func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := js.AccountInfo(ctx)
			return err == nil
		})
		return time.Now()
	}}
	k.start()
	return k
}

func freeNATS(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return fmt.Sprint("nats://", l.Addr())
}

// rabbitNode starts a server for s.
func rabbitNode(t *testing.T, s *setup) killed {
	t.Helper()
	n := rabbittest.NewNode(t)
	s.Broker, s.Prefix = n.URL(), "test"
	return killed{"RabbitMQ", func() { n.Kill(t) }, func() time.Time { n.Start(t); return n.Ready(t) }}
}

// publishing publishes an event every few milliseconds until stop is called.
func publishing(t *testing.T, db *database.DB, topic event.Topic[order]) (attempts chan error, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	attempts, done := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(25 * time.Millisecond) // events of one key are handled one after the other
		defer tick.Stop()
		for ctx.Err() == nil {
			<-tick.C
			err := db.Write(ctx, func(ctx context.Context, tx *database.Tx) error {
				e := order{ID: "a"} // numbered by what is stored, because the end of an attempt may be unknown
				if err := tx.QueryRow(ctx, "SELECT count(*) FROM published").Scan(&e.Number); err != nil {
					return err
				}
				if _, err := tx.Exec(ctx, "INSERT INTO published (id, number) VALUES ($1, $2)", e.ID, e.Number); err != nil {
					return err
				}
				return topic.Publish(ctx, tx, &e)
			})
			select {
			case attempts <- err:
			default:
			}
		}
	}()
	return attempts, func() { cancel(); <-done }
}

func outage(t *testing.T, s setup, servers ...killed) {
	t.Helper()
	from, to := s.prepare(t)
	topic := event.NewTopic[order](topicName)
	run := func(db *database.DB, subs ...*event.Subscription) {
		backend, err := s.backend()
		must(t, err)
		start(t, db, event.Options{Backend: backend, Poll: time.Second}, topic, subs...)
	}
	run(from)
	run(to, event.Subscribe(topic, "sub", effect, event.HoldKey, event.Transactional, event.Delay(100*time.Millisecond)))
	attempts, stop := publishing(t, from, topic)
	defer stop()
	effects := func() int { return count(t, to, "SELECT count(*) FROM effects") }
	took := make(map[string][]time.Duration)
	for range number(outageRounds, 1) {
		for _, server := range servers {
			n := effects()
			eventually(t, "events are handled", func() bool { return effects() > n+20 })
			server.kill()
			for range 20 { // of the publisher, which fails or adds to the outbox
				<-attempts
			}
			ready := server.start()
			n = effects()
			eventually(t, "events are handled after the outage", func() bool { return effects() > n })
			took[server.name] = append(took[server.name], time.Since(ready))
		}
	}
	stop()
	s.complete(t, from, to)
	for name, list := range took {
		slices.Sort(list)
		longest := list[len(list)-1]
		t.Logf("%s killed %d times: events were handled again after %v in the median, %v at most; %d events, each effect once and in order",
			name, len(list), list[len(list)/2].Round(time.Millisecond), longest.Round(time.Millisecond), effects())
		if longest > resumption {
			t.Errorf("events were handled again %v after %s had returned", longest, name)
		}
	}
}
