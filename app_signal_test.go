package chassi_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
)

// sceneVariable makes the test binary play a program with an App, for a parent
// that sends it signals.
const sceneVariable = "CHASSI_TEST_SCENE"

const (
	exitClean = iota
	exitOther
	exitForced
	exitGrace
)

// playScene tells its progress on standard output, a line for each step.
func playScene(scene string) int {
	tell := func(line string) func(context.Context) error {
		return func(context.Context) error { fmt.Println(line); return nil }
	}
	hang := func(line string) func(context.Context) error {
		return func(context.Context) error { fmt.Println(line); select {} }
	}
	app := chassi.NewApp("child", chassi.AppOptions{Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)), Grace: 300 * time.Millisecond})
	app.Add(chassi.ComponentFunc("database", tell("+database"), tell("-database")))
	switch scene {
	case "clean":
		app.AddServer(chassi.ComponentFunc("http", tell("+http"), tell("-http")))
	case "drain":
		app = chassi.NewApp("child", chassi.AppOptions{DrainDelay: time.Hour})
		app.AddServer(drainer{chassi.ComponentFunc("http", tell("+http"), tell("-http"))})
	case "reload":
		app.OnHangup(func() { fmt.Println("reload") })
	case "stuck":
		app.AddServer(chassi.ComponentFunc("http", tell("+http"), hang("-http")))
	case "forced", "forced-start":
		app = chassi.NewApp("child", chassi.AppOptions{Grace: time.Hour})
		app.Add(chassi.ComponentFunc("database", tell("+database"), tell("-database")))
		start, stop := tell("+http"), hang("-http")
		if scene == "forced-start" {
			start = hang("+http")
		}
		app.AddServer(chassi.ComponentFunc("http", start, stop))
	case "start":
		app.AddServer(chassi.ComponentFunc("http", func(ctx context.Context) error { fmt.Println("+http"); return untilDone(ctx) }, tell("-http")))
	}
	go func() { <-app.Started(); fmt.Println("serving") }()
	err := app.Run(context.Background())
	switch {
	case errors.Is(err, chassi.ErrForced):
		return exitForced
	case errors.Is(err, chassi.ErrGrace):
		fmt.Println(err)
		return exitGrace
	case err != nil:
		return exitOther
	default:
		return exitClean
	}
}

// drainer tells when it is to drain.
type drainer struct{ chassi.Component }

func (drainer) Drain() { fmt.Println("~http") }

// child is the test binary playing a scene.
type child struct {
	t      *testing.T
	cmd    *exec.Cmd
	lines  *bufio.Scanner
	output []string
}

func play(t *testing.T, scene string, change ...func(*exec.Cmd)) *child {
	t.Helper()
	c := &child{t: t, cmd: exec.CommandContext(t.Context(), os.Args[0])}
	c.cmd.Env = append(os.Environ(), sceneVariable+"="+scene)
	for _, f := range change {
		f(c.cmd)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.lines = bufio.NewScanner(out)
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return c
}

// await reads until the child says line.
func (c *child) await(line string) {
	c.t.Helper()
	for c.lines.Scan() {
		c.output = append(c.output, c.lines.Text())
		if c.lines.Text() == line {
			return
		}
	}
	c.t.Fatalf("the child never said %q; it said %q", line, c.output)
}

func (c *child) signal(s os.Signal) {
	c.t.Helper()
	if err := c.cmd.Process.Signal(s); err != nil {
		c.t.Fatal(err)
	}
}

// end waits for the child's exit and returns its code.
func (c *child) end() int {
	for c.lines.Scan() {
		c.output = append(c.output, c.lines.Text())
	}
	_ = c.cmd.Wait() // the code says it all
	return c.cmd.ProcessState.ExitCode()
}

func (c *child) want(code int, output ...string) {
	c.t.Helper()
	if got := c.end(); got != code {
		c.t.Errorf("exit code %d, want %d", got, code)
	}
	said := slices.DeleteFunc(c.output, func(line string) bool { return line == "serving" }) // said by another goroutine
	if !slices.Equal(said, output) {
		c.t.Errorf("the child said %q, want %q", said, output)
	}
}

// Fault 1, as far as the App goes: one signal, an orderly end, exit 0.
func TestFault01SignalEndsCleanly(t *testing.T) {
	t.Parallel()
	for _, s := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		c := play(t, "clean")
		c.await("serving")
		c.signal(s)
		c.want(exitClean, "+database", "+http", "-http", "-database")
	}
}

// The drain delay is an hour. SIGINT skips it, because no load balancer is involved.
func TestInterruptSkipsTheDrainDelay(t *testing.T) {
	t.Parallel()
	c := play(t, "drain")
	c.await("serving")
	c.signal(os.Interrupt)
	c.want(exitClean, "+http", "~http", "-http")
}

func TestFault04StuckServerEndsWithTheGrace(t *testing.T) {
	t.Parallel()
	c := play(t, "stuck")
	c.await("serving")
	c.signal(syscall.SIGTERM)
	c.await("-http")
	began := time.Now()
	if code := c.end(); code != exitGrace {
		t.Errorf("exit code %d, want %d", code, exitGrace)
	}
	if d := time.Since(began); d < 200*time.Millisecond {
		t.Errorf("it ended after %v, before the grace period", d)
	}
	output := strings.Join(c.output, "\n")
	if !strings.Contains(output, "-database") || !strings.Contains(output, "stop http") {
		t.Errorf("the child said %q, want the end of the database and the name of the stuck server", output)
	}
}

// The grace period is an hour: only the second signal can end the child.
func TestFault05SecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	c := play(t, "forced")
	c.await("serving")
	c.signal(syscall.SIGTERM)
	c.await("-http")
	c.signal(os.Interrupt)
	c.want(exitForced, "+database", "+http", "-http")
}

func TestFault05SecondSignalEndsAStuckStart(t *testing.T) {
	t.Parallel()
	c := play(t, "forced-start")
	c.await("+http")
	c.signal(syscall.SIGTERM)
	c.signal(os.Interrupt)
	c.want(exitForced, "+database", "+http")
}

func TestFault09SignalDuringStartEndsCleanly(t *testing.T) {
	t.Parallel()
	c := play(t, "start")
	c.await("+http")
	c.signal(syscall.SIGTERM)
	c.want(exitClean, "+database", "+http", "-database")
}

// The program survives the end of the process that reads its log, after which writing causes
// SIGPIPE.
func TestBlockedLogReader(t *testing.T) {
	t.Parallel()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	reader.Close()
	defer writer.Close()
	c := play(t, "clean", func(cmd *exec.Cmd) { cmd.Stderr = writer })
	c.await("serving")
	c.signal(syscall.SIGTERM)
	c.want(exitClean, "+database", "+http", "-http", "-database")
}

// What each signal does in each phase. Signals of one step follow each other at once.
func TestSignalsInEachPhase(t *testing.T) {
	t.Parallel()
	const term, interrupt, hangup, pipe = syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGPIPE
	type step struct {
		await   string
		signals []syscall.Signal
	}
	one := func(await string, signals ...syscall.Signal) []step { return []step{{await, signals}} }
	starting, serving := []string{"+database", "+http", "-database"}, []string{"+database", "+http", "-http", "-database"}
	for name, c := range map[string]struct {
		scene  string
		steps  []step
		code   int
		output []string
	}{
		"starting, SIGTERM":                 {"start", one("+http", term), exitClean, starting},
		"starting, SIGINT":                  {"start", one("+http", interrupt), exitClean, starting},
		"starting, SIGHUP":                  {"start", one("+http", hangup), exitClean, starting},
		"starting, SIGPIPE":                 {"start", one("+http", pipe, term), exitClean, starting},
		"starting, SIGTERM and SIGINT":      {"forced-start", one("+http", term, interrupt), exitForced, starting[:2]},
		"serving, SIGTERM":                  {"clean", one("serving", term), exitClean, serving},
		"serving, SIGINT":                   {"clean", one("serving", interrupt), exitClean, serving},
		"serving, SIGHUP":                   {"clean", one("serving", hangup), exitClean, serving},
		"serving, SIGPIPE":                  {"clean", one("serving", pipe, pipe, term), exitClean, serving},
		"serving, SIGHUP and SIGTERM":       {"clean", one("serving", hangup, term), exitClean, serving},
		"serving, SIGTERM and SIGHUP":       {"clean", one("serving", term, hangup), exitClean, serving},
		"serving, SIGHUP reloads":           {"reload", []step{{"serving", []syscall.Signal{hangup}}, {"reload", []syscall.Signal{term}}}, exitClean, []string{"+database", "reload", "-database"}},
		"draining, SIGINT":                  {"drain", []step{{"serving", []syscall.Signal{term}}, {"~http", []syscall.Signal{interrupt}}}, exitForced, []string{"+http", "~http"}},
		"draining, SIGHUP, SIGPIPE, SIGINT": {"drain", []step{{"serving", []syscall.Signal{term}}, {"~http", []syscall.Signal{hangup, pipe, interrupt}}}, exitForced, []string{"+http", "~http"}},
		"draining after SIGHUP, SIGINT":     {"drain", []step{{"serving", []syscall.Signal{hangup}}, {"~http", []syscall.Signal{term, interrupt}}}, exitForced, []string{"+http", "~http"}},
		"stopping, SIGINT after SIGTERM":    {"forced", []step{{"serving", []syscall.Signal{term}}, {"-http", []syscall.Signal{interrupt}}}, exitForced, []string{"+database", "+http", "-http"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			child := play(t, c.scene)
			for _, s := range c.steps {
				child.await(s.await)
				// A child that ends at once must not end between two of them.
				together := c.scene == "clean" && len(s.signals) > 1
				if together {
					child.signal(syscall.SIGSTOP)
				}
				for _, one := range s.signals {
					child.signal(one)
				}
				if together {
					child.signal(syscall.SIGCONT)
				}
			}
			child.want(c.code, c.output...)
		})
	}
}
