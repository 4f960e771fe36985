package rabbittest

import (
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Node is a RabbitMQ node for a single test, which the test can configure and kill.
type Node struct {
	Addr string

	env []string
	cmd *exec.Cmd
}

// Paths of the programs that the RabbitMQ packages install.
const (
	serverProgram  = "/usr/lib/rabbitmq/bin/rabbitmq-server"
	controlProgram = "/usr/lib/rabbitmq/bin/rabbitmqctl"
)

// NewNode starts a node with the given lines of rabbitmq.conf, and returns when the node accepts
// logins. The node is stopped at the end of the test. If RabbitMQ is not installed, the test is
// skipped, or fails if the environment variable CI is "true".
func NewNode(t testing.TB, conf ...string) *Node {
	t.Helper()
	if _, err := os.Stat(serverProgram); err != nil {
		withoutf(t, "RabbitMQ is not installed: %v", err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/rabbit.conf", []byte(strings.Join(append(conf, ""), "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	n := &Node{Addr: freePort(t)}
	_, port, _ := net.SplitHostPort(n.Addr)
	_, distPort, _ := net.SplitHostPort(freePort(t))
	n.env = append(os.Environ(), "HOME="+dir, "RABBITMQ_NODENAME=test"+strconv.FormatUint(rand.Uint64(), 36)+"@localhost", "RABBITMQ_NODE_PORT="+port,
		"RABBITMQ_NODE_IP_ADDRESS=127.0.0.1", "RABBITMQ_DIST_PORT="+distPort, "RABBITMQ_MNESIA_BASE="+dir+"/db", "RABBITMQ_LOG_BASE="+dir+"/log",
		"RABBITMQ_ENABLED_PLUGINS_FILE="+dir+"/plugins", "RABBITMQ_CONFIG_FILE="+dir+"/rabbit", "RABBITMQ_LOGS=-")
	n.Start(t)
	t.Cleanup(func() { n.Kill(t) })
	n.Ready(t)
	return n
}

func freePort(t testing.TB) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// URL returns the AMQP URL of the node with the credentials of the user guest.
func (n *Node) URL() string { return "amqp://guest:guest@" + n.Addr + "/" }

// Start starts the node, which must not be running. A node can be started again after [Node.Kill].
// Call [Node.Ready] to wait until the node accepts logins.
func (n *Node) Start(t testing.TB) {
	t.Helper()
	n.cmd = exec.Command(serverProgram) //nolint:noctx // it ends with the test, by Kill
	n.cmd.Env = n.env
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
}

// Kill kills the node and its child processes, and waits until the node has exited.
func (n *Node) Kill(t testing.TB) {
	t.Helper()
	if err := syscall.Kill(-n.cmd.Process.Pid, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	_ = n.cmd.Wait()
}

// Ready waits until the node accepts logins, and returns the time of the first successful login. It
// stops the test after three minutes.
func (n *Node) Ready(t testing.TB) time.Time {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond) // a start needs the processor itself
	defer tick.Stop()
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); <-tick.C {
		if conn, err := amqp.Dial(n.URL()); err == nil {
			conn.Close()
			return time.Now()
		}
	}
	t.Fatalf("no login to RabbitMQ at %s within three minutes", n.Addr)
	return time.Time{}
}

// Control runs rabbitmqctl on the node with the given arguments. It stops the test if rabbitmqctl
// fails.
func (n *Node) Control(t testing.TB, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), controlProgram, args...) //nolint:gosec // of this repository
	cmd.Env = n.env
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("rabbitmqctl %v: %v\n%s", args, err, out)
	}
}
