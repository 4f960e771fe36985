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
	app.Manage(chassi.ServerFunc("database", tell("+database"), tell("-database")))
	switch scene {
	case "clean":
		app.Serve(chassi.ServerFunc("http", tell("+http"), tell("-http")))
	case "drain":
		app = chassi.NewApp("child", chassi.AppOptions{DrainDelay: time.Hour})
		app.Serve(chassi.ServerFunc("http", tell("+http"), tell("-http")))
	case "stuck":
		app.Serve(chassi.ServerFunc("http", tell("+http"), hang("-http")))
	case "forced", "forced-start":
		app = chassi.NewApp("child", chassi.AppOptions{Grace: time.Hour})
		app.Manage(chassi.ServerFunc("database", tell("+database"), tell("-database")))
		start, stop := tell("+http"), hang("-http")
		if scene == "forced-start" {
			start = hang("+http")
		}
		app.Serve(chassi.ServerFunc("http", start, stop))
	case "start":
		app.Serve(chassi.ServerFunc("http", func(ctx context.Context) error { fmt.Println("+http"); return untilDone(ctx) }, tell("-http")))
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

// child is the test binary playing a scene.
type child struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines *bufio.Scanner
	told  []string
}

func play(t *testing.T, scene string) *child {
	t.Helper()
	c := &child{t: t, cmd: exec.CommandContext(t.Context(), os.Args[0])}
	c.cmd.Env = append(os.Environ(), sceneVariable+"="+scene)
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
		c.told = append(c.told, c.lines.Text())
		if c.lines.Text() == line {
			return
		}
	}
	c.t.Fatalf("the child never said %q; it said %q", line, c.told)
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
		c.told = append(c.told, c.lines.Text())
	}
	_ = c.cmd.Wait() // the code says it all
	return c.cmd.ProcessState.ExitCode()
}

func (c *child) want(code int, told ...string) {
	c.t.Helper()
	if got := c.end(); got != code {
		c.t.Errorf("exit code %d, want %d", got, code)
	}
	said := slices.DeleteFunc(c.told, func(line string) bool { return line == "serving" }) // said by another goroutine
	if !slices.Equal(said, told) {
		c.t.Errorf("the child said %q, want %q", said, told)
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

// The drain delay is an hour. No load balancer has to notice that somebody pressed Ctrl-C.
func TestInterruptSkipsTheDrainDelay(t *testing.T) {
	t.Parallel()
	c := play(t, "drain")
	c.await("serving")
	c.signal(os.Interrupt)
	c.want(exitClean, "+http", "-http")
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
	told := strings.Join(c.told, "\n")
	if !strings.Contains(told, "-database") || !strings.Contains(told, "stop http") {
		t.Errorf("the child said %q, want the end of the database and the name of the stuck server", told)
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
