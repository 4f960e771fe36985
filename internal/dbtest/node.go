package dbtest

import (
	"context"
	"database/sql"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Node is a PostgreSQL server for a single test, which the test can kill.
type Node struct {
	URL string

	program, dir string
	settings     []string
	as           *syscall.SysProcAttr
	cmd          *exec.Cmd
	log          strings.Builder
}

// NewPostgresNode starts a server with an empty database and the given settings, such as
// "max_connections=50", and returns the Node when the server accepts connections. The server is
// killed at the end of the test. If PostgreSQL is not installed, the test is skipped, or fails if
// CI=true.
func NewPostgresNode(t testing.TB, settings ...string) *Node {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb") // Debian's location
	if path, err := exec.LookPath("initdb"); err == nil {
		found = append(found, path)
	}
	if len(found) == 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("initdb of PostgreSQL is not installed")
		}
		t.Skip("initdb of PostgreSQL is not installed")
	}
	initdb := found[len(found)-1]
	dir, err := os.MkdirTemp("", "chassi-postgres") //nolint:usetesting // not that of the test, which other users cannot read
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	addr := freeAddr(t)
	n := &Node{
		URL: "postgres://postgres@" + addr + "/postgres?sslmode=disable", program: filepath.Join(filepath.Dir(initdb), "postgres"),
		dir: dir, settings: settings, as: unprivileged(t, dir),
	}
	cmd := exec.CommandContext(t.Context(), initdb, "-D", dir, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync") //nolint:gosec // found above
	cmd.SysProcAttr, cmd.Dir = n.as, "/"
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	n.Start(t)
	t.Cleanup(func() {
		n.Kill(t)
		if t.Failed() {
			t.Logf("PostgreSQL:\n%s", n.log.String())
		}
	})
	n.Ready(t)
	return n
}

// unprivileged returns the attributes of a process that runs as an unprivileged user, because
// PostgreSQL refuses to run as root, and makes that user the owner of dir. If the test does not run
// as root, unprivileged returns nil and changes nothing.
func unprivileged(t testing.TB, dir string) *syscall.SysProcAttr {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		u, err = user.Lookup("nobody")
	}
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
}

// Start starts the server, for example after [Node.Kill]. It does not wait until the server accepts
// connections; [Node.Ready] does.
func (n *Node) Start(t testing.TB) {
	t.Helper()
	host, port, _ := net.SplitHostPort(strings.Split(strings.TrimPrefix(n.URL, "postgres://postgres@"), "/")[0])
	args := []string{"-D", n.dir, "-h", host, "-p", port, "-k", ""}
	for _, s := range append([]string{"fsync=off", "log_min_messages=fatal"}, n.settings...) { // only the machine could lose what is written
		args = append(args, "-c", s)
	}
	n.cmd = exec.Command(n.program, args...) //nolint:gosec,noctx // found above; it ends by Kill
	n.cmd.SysProcAttr, n.cmd.Dir = n.as, "/"
	n.cmd.Stdout, n.cmd.Stderr = &n.log, &n.log
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
}

// Kill kills all processes of the server and waits until the server has exited.
func (n *Node) Kill(t testing.TB) {
	t.Helper()
	pid := n.cmd.Process.Pid
	pids := []int{pid}
	task := strconv.Itoa(pid)
	children, _ := os.ReadFile(filepath.Join("/proc", task, "task", task, "children")) // elsewhere they end by themselves
	for word := range strings.FieldsSeq(string(children)) {
		if child, err := strconv.Atoi(word); err == nil {
			pids = append(pids, child)
		}
	}
	for _, pid := range slices.Compact(pids) {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended meanwhile
	}
	_ = n.cmd.Wait()
}

// Ready waits until the server accepts connections and returns the time at which it did. It fails
// the test after a minute.
func (n *Node) Ready(t testing.TB) time.Time {
	t.Helper()
	db, err := sql.Open("pgx", n.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for db.PingContext(ctx) != nil {
		select {
		case <-ctx.Done():
			t.Fatalf("PostgreSQL at %s does not accept connections after a minute", n.URL)
		case <-tick.C:
		}
	}
	return time.Now()
}
