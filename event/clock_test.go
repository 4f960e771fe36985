package event_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/event"
	"github.com/chassi-go/chassi/internal/dbtest"
	"github.com/chassi-go/chassi/job"
)

// clockSteps makes TestNodeClockSteps run. It compiles a program with all of its packages anew,
// which takes minutes.
const clockSteps = "CHASSI_CLOCK_STEPS"

// clockVariable is the variable with the file that says by how many seconds a node's clock is
// ahead.
const clockVariable = "EVENT_TEST_CLOCK"

// stepFile is a file for package time.
const stepFile = `package time

import (
	"sync/atomic"
	"syscall"
)

var step atomic.Int64

func init() {
	path, set := syscall.Getenv("` + clockVariable + `")
	if !set {
		return
	}
	go func() {
		for ; ; Sleep(10 * Millisecond) {
			fd, err := syscall.Open(path, syscall.O_RDONLY, 0)
			if err != nil {
				continue
			}
			var text [20]byte
			n, _ := syscall.Read(fd, text[:])
			syscall.Close(fd)
			var seconds, sign int64 = 0, 1
			for _, c := range text[:max(n, 0)] {
				if c == '-' {
					sign = -1
				} else {
					seconds = seconds*10 + int64(c-'0')
				}
			}
			step.Store(sign * seconds)
		}
	}()
}
`

// steppedProgram builds the test program with a clock that can be set.
func steppedProgram(t *testing.T) string {
	t.Helper()
	root, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT").Output()
	must(t, err)
	library, dir := filepath.Join(strings.TrimSpace(string(root)), "src", "time"), t.TempDir()
	text, err := os.ReadFile(filepath.Join(library, "time.go"))
	must(t, err)
	const now = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	if !bytes.Contains(text, []byte(now)) {
		t.Fatal("time.Now of this Go is not as expected")
	}
	stepped := bytes.Replace(text, []byte(now), []byte(now+"\tsec += step.Load()\n"), 1)
	must(t, os.WriteFile(dir+"/time.go", stepped, 0o600))
	must(t, os.WriteFile(dir+"/step.go", []byte(stepFile), 0o600))
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{library + "/time.go": dir + "/time.go", library + "/step.go": dir + "/step.go"}})
	must(t, err)
	must(t, os.WriteFile(dir+"/overlay.json", overlay, 0o600))
	out, err := exec.CommandContext(t.Context(), "go", "test", "-overlay", dir+"/overlay.json", "-c", "-o", dir+"/node", ".").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir + "/node"
}

// tick returns a job that runs each second and stores its scheduled time.
func tick(db *database.DB) job.Definition {
	return job.Cron("tick", "@every 1s", func(ctx context.Context) error {
		_, err := db.Exec(ctx, "INSERT INTO ran (second) VALUES ($1)", job.RunFrom(ctx).Scheduled.Unix())
		return err
	}, job.Missed(job.All))
}

// The clocks of two nodes step by a day in both directions: each event has its effect once and in
// order, and each run of a job that runs each second takes place once.
// CHASSI_CLOCK_STEPS=1 runs the test.
func TestNodeClockSteps(t *testing.T) {
	if os.Getenv(clockSteps) == "" {
		return
	}
	t.Parallel()
	url := dbtest.Postgres(t)
	s := setup{From: url, To: url, program: steppedProgram(t)}
	from, to := s.prepare(t)
	_, err := to.Exec(t.Context(), "CREATE TABLE ran (second BIGINT NOT NULL)")
	must(t, err)
	var clocks []string
	set := func(clock string, ahead time.Duration) {
		must(t, os.WriteFile(clock+".new", []byte(strconv.Itoa(int(ahead.Seconds()))), 0o600))
		must(t, os.Rename(clock+".new", clock))
	}
	for i := range 2 {
		clock := filepath.Join(t.TempDir(), strconv.Itoa(i))
		set(clock, 0)
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
			set(clock, ahead*time.Duration(1-2*i)) // one ahead, the other behind
			steps++
			effects, ran := count(t, to, "SELECT count(*) FROM effects"), count(t, to, runs)
			eventually(t, "events are handled and the job runs after the step", func() bool {
				return count(t, to, "SELECT count(*) FROM effects") > effects+20 && count(t, to, runs) > ran+2
			})
		}
	}
	stop()
	s.complete(t, from, to)
	n, distinct, span := count(t, to, runs), count(t, to, "SELECT count(DISTINCT second) FROM ran"), count(t, to, "SELECT max(second) - min(second) + 1 FROM ran")
	if n != distinct || n != span {
		t.Errorf("%d runs, of %d different seconds, in %d seconds", n, distinct, span)
	}
	t.Logf("%d steps: %d events and %d runs, each once", steps, count(t, to, "SELECT count(*) FROM effects"), n)
}
