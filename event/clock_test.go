package event_test

import (
	"context"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/event"
	"github.com/chassi-go/chassi/internal/dbtest"
	"github.com/chassi-go/chassi/internal/setclock"
	"github.com/chassi-go/chassi/job"
)

// steppedProgram builds the test program with a clock that the test sets.
func steppedProgram(t *testing.T) string {
	t.Helper()
	if !setclock.Supported() {
		t.Skip("the clock of a program can be set on Linux for amd64 and arm64 only")
	}
	dir := t.TempDir()
	overlay, err := setclock.Overlay(dir, ".", "event")
	must(t, err)
	out, err := exec.CommandContext(t.Context(), "go", "test", overlay, "-vet=off", "-c", "-o", dir+"/node", ".").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir + "/node"
}

// tick returns a job that runs each second and stores its scheduled time, and that of its node.
func tick(db *database.DB) job.Definition {
	return job.Cron("tick", "@every 1s", func(ctx context.Context) error {
		_, err := db.Exec(ctx, "INSERT INTO ran (second, clock) VALUES ($1, $2)", job.RunFrom(ctx).Scheduled.Unix(), time.Now().Unix())
		return err
	}, job.Missed(job.All))
}

// The clocks of two nodes step by a day in both directions: each event has its effect once and in
// order, and each run of a job that runs each second takes place once.
func TestNodeClockSteps(t *testing.T) {
	t.Parallel()
	url := dbtest.Postgres(t)
	s := setup{From: url, To: url, program: steppedProgram(t)}
	from, to := s.prepare(t)
	_, err := to.Exec(t.Context(), "CREATE TABLE ran (second BIGINT NOT NULL, clock BIGINT NOT NULL)")
	must(t, err)
	var clocks []string
	for i := range 2 {
		clock := filepath.Join(t.TempDir(), strconv.Itoa(i))
		must(t, setclock.Set(clock, 0))
		node := s
		node.clock = clock
		defer kill(t, node.start(t, ticks))
		clocks = append(clocks, clock)
	}
	_, stop := publishing(t, from, event.NewTopic[order](topicName))
	defer stop()
	const runs = "SELECT count(*) FROM ran"
	eventually(t, "the job runs", func() bool { return count(t, to, runs) > 2 })
	const day = 24 * time.Hour
	steps := 0
	for _, ahead := range []time.Duration{day, 0, -day, day, 0} {
		for i, clock := range clocks {
			must(t, setclock.Set(clock, ahead*time.Duration(1-2*i))) // one ahead, the other behind
			steps++
			effects, ran := count(t, to, "SELECT count(*) FROM effects"), count(t, to, runs)
			eventually(t, "events are handled and the job runs after the step", func() bool {
				return count(t, to, "SELECT count(*) FROM effects") > effects+20 && count(t, to, runs) > ran+1
			})
		}
	}
	stop()
	s.complete(t, from, to)
	n, distinct, span := count(t, to, runs), count(t, to, "SELECT count(DISTINCT second) FROM ran"), count(t, to, "SELECT max(second) - min(second) + 1 FROM ran")
	if n != distinct || n != span {
		t.Errorf("%d runs, of %d different seconds, in %d seconds", n, distinct, span)
	}
	if count(t, to, "SELECT count(*) FROM ran WHERE clock > second + 80000") == 0 || count(t, to, "SELECT count(*) FROM ran WHERE clock < second - 80000") == 0 {
		t.Error("the clocks were not set")
	}
	t.Logf("%d steps: %d events and %d runs, each once", steps, count(t, to, "SELECT count(*) FROM effects"), n)
}
