package event_test

import (
	"context"
	"crypto/rand"
	"errors"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/event"
	"github.com/chassi-go/chassi/internal/dbtest"
)

// Variables of the environment of a node of the crash test, and of the test itself.
const (
	nodeURL    = "EVENT_TEST_NODE"    // the database of a node
	nodeEvents = "EVENT_TEST_EVENTS"  // how many it publishes; then it only relays and handles
	crashKills = "CHASSI_CRASH_KILLS" // kills of a run of the test; default 6
)

// effect is the method of the crash test: it stores the event, and whether the one before it was
// stored.
func effect(ctx context.Context, e *order) error {
	var before int
	tx := event.Tx(ctx)
	if err := tx.QueryRow(ctx, "SELECT count(*) FROM effects WHERE id = $1", e.ID).Scan(&before); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, "INSERT INTO effects (id, number, place) VALUES ($1, $2, $3)", e.ID, e.Number, before)
	return err
}

// runNode is the main function of a node: it publishes, relays and handles events until it is
// killed or, if it publishes nothing, nothing is left.
func runNode() int {
	if err := serveNode(context.Background()); err != nil {
		_, _ = os.Stderr.WriteString(err.Error() + "\n")
		return 1
	}
	return 0
}

func serveNode(ctx context.Context) error {
	db, err := database.Open(ctx, database.Config{URL: os.Getenv(nodeURL), QueryTimeout: patience})
	if err != nil {
		return err
	}
	topic := event.NewTopic[order](topicName)
	s := event.NewServer(db, event.Options{Logger: quiet, Lease: 2 * time.Second, Poll: 50 * time.Millisecond})
	sub := event.Subscribe(topic, "sub", effect, event.HoldKey, event.Transactional, event.Tries(1000))
	if err := errors.Join(s.Publishes(topic), s.Add(sub), s.Start(ctx)); err != nil {
		return err
	}
	key, total := rand.Text(), 0
	if n, err := strconv.Atoi(os.Getenv(nodeEvents)); err == nil {
		total = n
	}
	for i := range total {
		err := db.Write(ctx, func(ctx context.Context, tx *database.Tx) error {
			if _, err := tx.Exec(ctx, "INSERT INTO published (id, number) VALUES ($1, $2)", key, i); err != nil {
				return err
			}
			return topic.Publish(ctx, tx, &order{key, i})
		})
		if err != nil {
			return err
		}
		for i%10 == 9 { // not faster than events are handled
			var left int
			if err := db.QueryRow(ctx, onTheWay).Scan(&left); err != nil {
				return err
			}
			if left < 100 {
				break
			}
			<-time.After(10 * time.Millisecond)
		}
	}
	select {}
}

// onTheWay counts the events that were not handled.
const onTheWay = "SELECT (SELECT count(*) FROM chassi_outbox) + (SELECT count(*) FROM chassi_tasks)"

// Nodes that publish, relay and handle events are killed at random. Each event that was
// committed has its effect exactly once, in order, and nothing is left. An event that was being
// handled in three kills is a dead letter, because it could be their cause; it is redriven.
func TestCrash(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		db := open(t, url)
		must(t, event.Migrate(t.Context(), db))
		for _, table := range []string{"published (id TEXT NOT NULL, number BIGINT NOT NULL)", "effects (id TEXT NOT NULL, number BIGINT NOT NULL, place BIGINT NOT NULL)"} {
			_, err := db.Exec(t.Context(), "CREATE TABLE "+table)
			must(t, err)
		}
		kills := 6
		if n, err := strconv.Atoi(os.Getenv(crashKills)); err == nil {
			kills = n
		}
		const total = 1_000_000
		nodes := []*exec.Cmd{startNode(t, url, total), startNode(t, url, total)}
		for range kills {
			i := mathrand.IntN(len(nodes))
			n := count(t, db, "SELECT count(*) FROM effects")
			life := time.Now().Add(time.Duration(mathrand.IntN(400)) * time.Millisecond)
			eventually(t, "some events are handled", func() bool {
				return time.Now().After(life) && count(t, db, "SELECT count(*) FROM effects") > n
			})
			kill(t, nodes[i])
			if n := count(t, db, "SELECT count(*) FROM chassi_dead WHERE reason <> 'poison'"); n > 0 {
				t.Fatalf("%d events failed for another reason than a kill", n)
			}
			nodes[i] = startNode(t, url, total)
		}
		for _, n := range nodes {
			kill(t, n)
		}
		last := startNode(t, url, 0)
		redriven := 0
		eventually(t, "nothing is left", func() bool {
			n, err := event.Redrive(t.Context(), db, event.Selection{})
			must(t, err)
			redriven += n
			return n == 0 && settled(t, db)
		})
		kill(t, last)
		published := count(t, db, "SELECT count(*) FROM published")
		if n := count(t, db, "SELECT count(*) FROM published p WHERE (SELECT count(*) FROM effects e WHERE e.id = p.id AND e.number = p.number) <> 1"); n > 0 {
			t.Errorf("%d of %d events do not have their effect once", n, published)
		}
		if n := count(t, db, "SELECT count(*) FROM effects"); n != published {
			t.Errorf("%d effects of %d events", n, published)
		}
		if n := count(t, db, "SELECT count(*) FROM effects WHERE number <> place"); n > 0 {
			t.Errorf("%d events were handled out of order", n)
		}
		t.Logf("%d kills, %d events; %d were redriven because three kills met them", kills, published, redriven)
	})
}

// settled reports whether no event is on its way.
func settled(t testing.TB, db *database.DB) bool {
	t.Helper()
	return count(t, db, onTheWay) == 0
}

func startNode(t testing.TB, url string, total int) *exec.Cmd {
	t.Helper()
	program, err := os.Executable()
	must(t, err)
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), nodeURL+"="+url, nodeEvents+"="+strconv.Itoa(total))
	cmd.Stderr = os.Stderr
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() }) // for a test that failed
	return cmd
}

// kill sends SIGKILL.
func kill(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	must(t, cmd.Process.Kill())
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.Exited() {
		t.Errorf("the node ended by itself: %v", err)
	}
}
