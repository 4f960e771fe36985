package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/chassi-go/chassi/standard"
)

// half opens a connection and sends a request but for the end of its body, so
// that the call is in flight until finish.
func (n *node) half(body string) (finish func() error, err error) {
	conn, err := net.Dial("tcp", strings.TrimPrefix(n.http, "http://"))
	if err != nil {
		return nil, err
	}
	middle := len(body) / 2
	_, err = fmt.Fprintf(conn, "POST /v1/validate-token HTTP/1.1\r\nHost: authd\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body[:middle])
	return func() error {
		defer conn.Close()
		if _, err := io.WriteString(conn, body[middle:]); err != nil {
			return err
		}
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			return err
		}
		return wantOK(response)
	}, err
}

func wantOK(response *http.Response) error {
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d: %s", response.StatusCode, text)
	}
	return response.Body.Close()
}

// ready requests /readyz like a load balancer.
func (n *node) ready() bool {
	response, err := http.Get(n.admin + "/readyz")
	if err != nil {
		return false
	}
	defer response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// Fault 1: at SIGTERM, 500 requests per second on fresh connections come from a
// client that follows readiness, and 50 calls are in flight that only go on when
// readiness has said no. All of them are answered, and the exit code is 0.
func TestFault01TermUnderLoadFailsNothing(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir(), "--shutdown.drain=3s")
	account := object{"email": "ada@example.org", "password": "an analytical engine"}
	n.post("/v1/users", "", account)
	status, response := n.post("/v1/auth", "", account)
	token, _ := response["token"].(string)
	if status != http.StatusOK || token == "" {
		t.Fatalf("login: %d %v", status, response)
	}
	body := fmt.Sprintf(`{"token":%q}`, token)

	var slow []func() error
	for range 50 {
		finish, err := n.half(body)
		if err != nil {
			t.Fatal(err)
		}
		slow = append(slow, finish)
	}

	fresh := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	var sent, failed atomic.Int64
	var calls sync.WaitGroup
	pace := time.NewTicker(2 * time.Millisecond)
	defer pace.Stop()
	call := func() {
		response, err := fresh.Post(n.http+"/v1/validate-token", "application/json", strings.NewReader(body))
		if err == nil {
			err = wantOK(response)
		}
		if err != nil {
			failed.Add(1)
			t.Error(err)
		}
	}
	notReady := make(chan struct{})
	send := func() {
		for {
			select {
			case <-notReady:
				return
			case <-pace.C:
				sent.Add(1)
				calls.Go(call)
			}
		}
	}
	calls.Go(send)
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for n.ready() && sent.Load() < 250 {
		<-poll.C
	}
	before := sent.Load()
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for n.ready() {
		<-poll.C
	}
	close(notReady)
	calls.Wait()

	var errs []error
	for _, finish := range slow {
		errs = append(errs, finish())
	}
	if err := errors.Join(errs...); err != nil {
		t.Errorf("calls in flight: %v", err)
	}
	<-n.ended
	_ = n.cmd.Wait()
	if code := n.cmd.ProcessState.ExitCode(); code != standard.ExitOK || failed.Load() > 0 || before < 200 {
		t.Errorf("exit code %d, %d of %d requests failed, %d of them before SIGTERM", code, failed.Load(), sent.Load(), before)
	}
	t.Logf("%d requests on fresh connections, %d after SIGTERM, 50 calls in flight: none failed", sent.Load(), sent.Load()-before)
}
