package httpapi_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/transport/httpapi"
)

// exhausted names what the test process runs out of, in a process of its own.
const exhausted = "CHASSI_TEST_EXHAUSTED"

// A call for which the system has no port, or no file descriptor, is one that did not reach
// the service, and may be made again. Calls go on once there is one.
func TestCallsWithoutPortOrDescriptor(t *testing.T) {
	t.Parallel()
	if what := os.Getenv(exhausted); what != "" {
		callsWithout(t, map[string]error{"port": syscall.EADDRNOTAVAIL, "descriptor": syscall.EMFILE}[what])
		return
	}
	for what, prepare := range map[string]string{
		"port":       `ip link set lo up && echo "40000 40009" >/proc/sys/net/ipv4/ip_local_port_range`,
		"descriptor": `ulimit -n 40`,
	} {
		cmd := exec.Command("/bin/sh", "-c", prepare+` && exec "$0" -test.v -test.run='^TestCallsWithoutPortOrDescriptor$'`, os.Args[0])
		cmd.Env = append(os.Environ(), exhausted+"="+what)
		if what == "port" {
			if os.Geteuid() != 0 {
				t.Logf("%s: not tried: a network of its own needs root", what)
				continue
			}
			cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
		}
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
			t.Errorf("%s: %v\n%s", what, err, out)
		}
	}
}

func callsWithout(t *testing.T, cause error) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte("{}"))
	}))
	defer server.Close()
	remote, err := httpapi.NewClient(httpapi.ClientConfig{URL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer remote.Close()
	get := chassi.NewEndpoint("Get", func(context.Context, *struct{}) (*struct{}, error) { return nil, nil }, chassi.Route("GET /x"), chassi.Public)
	c, err := client.New(chassi.NewService("x.v1.X", get), remote)
	if err != nil {
		t.Fatal(err)
	}
	call := func() error {
		_, err := client.Invoke[struct{}](t.Context(), c, "Get", &struct{}{})
		return err
	}
	var held []net.Conn
	for {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			if !errors.Is(err, cause) {
				t.Fatalf("dialing ended with %v, want %v", err, cause)
			}
			break
		}
		held = append(held, conn)
	}
	if err := call(); chassi.ErrorOf(err).Code != chassi.Unavailable || chassi.ErrorOf(err).Reason != "unreachable" || !errors.Is(err, cause) {
		t.Errorf("%v, want unreachable because of %v", err, cause)
	}
	for _, conn := range held {
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // the port is free at once
		}
		conn.Close()
	}
	limit := time.After(20 * time.Second)
	for err = call(); err != nil; err = call() { // the server closes its ends in a moment
		select {
		case <-limit:
			t.Fatalf("with ports and descriptors free again: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}
