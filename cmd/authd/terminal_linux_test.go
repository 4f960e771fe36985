package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/chassi-go/chassi/internal/dbtest"
	"github.com/chassi-go/chassi/standard"
)

// terminal opens a pseudo-terminal: what is typed and shown, and what a program has.
func terminal(t *testing.T) (user, program *os.File) {
	t.Helper()
	user, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no pseudo-terminal: %v", err)
	}
	var n, unlocked int32
	for request, value := range map[uintptr]*int32{syscall.TIOCSPTLCK: &unlocked, syscall.TIOCGPTN: &n} {
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, user.Fd(), request, uintptr(unsafe.Pointer(value))); errno != 0 {
			t.Fatal(errno)
		}
	}
	program, err = os.OpenFile(filepath.Join("/dev/pts", strconv.Itoa(int(n))), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { user.Close(); program.Close() })
	return user, program
}

// A terminal that closes sends SIGHUP, which reloads, and takes no more lines: the node
// serves on.
func TestTerminalCloses(t *testing.T) {
	t.Parallel()
	user, program := terminal(t)
	args := append([]string{"serve", "--log.format=json", "--http.addr=127.0.0.1:0", "--admin.addr=127.0.0.1:0", "--grpc.addr=off", "--nats.url=off"}, cheap...)
	cmd := authd(t.TempDir(), args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = program, program, program
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	n := launchReading(t, cmd, user)
	n.awaitLog(`"msg":"serving"`)
	if err := program.Close(); err != nil {
		t.Fatal(err)
	}
	if err := user.Close(); err != nil {
		t.Fatal(err)
	}
	n.serves("ada@example.org")
	eventually(t, "lost lines are counted", func() bool {
		value := n.metric("log_dropped_lines_total")
		return value != "" && value != "0"
	})
	if code := n.stop(syscall.SIGTERM); code != standard.ExitOK {
		t.Errorf("exit code %d, want %d", code, standard.ExitOK)
	}
}

// Irreversible commands ask for confirmation on a terminal and accept only "yes".
func TestConfirmOnATerminal(t *testing.T) {
	t.Parallel()
	dir, db := t.TempDir(), "--database.url="+dbtest.SQLite(t)
	succeed(t, dir, "migrate", db)
	succeed(t, dir, append([]string{"user", "add", "ada@example.org", db}, cheap...)...)
	ask := func(response string, args ...string) (string, int) {
		t.Helper()
		user, program := terminal(t)
		cmd := authd(dir, append(args, db)...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = program, program, program
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		program.Close() // then reading ends with the program
		shown := bufio.NewReader(user)
		text, err := shown.ReadString(':')
		if err != nil {
			t.Fatalf("no question: %q, %v", text, err)
		}
		if _, err := user.WriteString(response); err != nil {
			t.Fatal(err)
		}
		rest, _ := io.ReadAll(shown) // EIO at the end
		_ = cmd.Wait()
		return text + string(rest), cmd.ProcessState.ExitCode()
	}
	for _, response := range []string{"no\n", "\n", "y\n", "yes please\n", "\x04"} {
		for _, args := range [][]string{{"user", "delete", "ada@example.org"}, {"key", "reset", "--token.master_key=" + newMasterKey()}} {
			out, code := ask(response, args...)
			if code != standard.ExitFailed || !strings.Contains(out, "Type yes to go on:") || !strings.Contains(out, "nothing was done") {
				t.Errorf("%v, %q: exit %d\n%s", args, response, code, out)
			}
		}
	}
	if out := succeed(t, dir, "user", "list", db); !strings.Contains(out, "ada@example.org") {
		t.Errorf("deleted without a yes:\n%s", out)
	}
	if out, code := ask("yes\n", "user", "delete", "ada@example.org"); code != standard.ExitOK || !strings.Contains(out, "deleted ada@example.org") {
		t.Errorf("exit %d\n%s", code, out)
	}
}

// A command that writes a file leaves nothing behind when its terminal closes, as when it is
// interrupted. It does not run beside others: the signals are sent to the process.
func TestInterruptedFileIsRemoved(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM} {
		if signal.Ignored(s) {
			t.Logf("%v is ignored", s)
			continue
		}
		dir := t.TempDir()
		ctx, stop := untilInterrupted(t.Context())
		err := newFile(filepath.Join(dir, "new"), func(string) error {
			if err := syscall.Kill(os.Getpid(), s); err != nil {
				return err
			}
			<-ctx.Done()
			return ctx.Err()
		})
		stop()
		left, readErr := os.ReadDir(dir)
		if !errors.Is(err, context.Canceled) || readErr != nil || len(left) != 0 {
			t.Errorf("%v: %v, %v was left behind, %v", s, err, left, readErr)
		}
	}
}
