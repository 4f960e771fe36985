package main

import (
	"bytes"
	"fmt"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/chassi-go/chassi/internal/dbtest"
	"github.com/chassi-go/chassi/load/balancer"
	"github.com/chassi-go/chassi/standard"
)

// The short form of `make rolling`: while two nodes are restarted one after the other,
// behind a load balancer that polls readiness and repeats nothing, no call fails.
func TestRollingRestartsFailNoCall(t *testing.T) {
	t.Parallel()
	url := dbtest.Postgres(t)
	var nodes [2]*node
	var behind [2]balancer.Node
	var args [2][]string
	for i := range nodes {
		// The nodes come back to the addresses that the load balancer knows.
		http, admin := freeAddr(t), freeAddr(t)
		// 100 ms of polling fit into a drain of 3 s also where the machine is busy.
		args[i] = []string{"--database.url=" + url, "--http.addr=" + http, "--admin.addr=" + admin, "--shutdown.drain=3s", "--http.trusted_proxies=127.0.0.0/8", "--overload.tolerance=1e9"}
		nodes[i] = start(t, t.TempDir(), args[i]...)
		behind[i] = balancer.Node{URL: "http://" + http, Readiness: "http://" + admin + "/readyz"}
	}
	b, err := balancer.New(100*time.Millisecond, behind[:]...)
	if err != nil {
		t.Fatal(err)
	}
	var polling sync.WaitGroup
	polling.Go(func() { b.Run(t.Context()) })
	front := httptest.NewServer(b)
	t.Cleanup(func() { front.Close(); polling.Wait() })
	bothReady := func() bool { return b.Ready() == 2 }
	eventually(t, "both nodes are ready", bothReady)
	nodes[0].post("/v1/users", "", ada)
	body := fmt.Appendf(nil, `{"token":%q}`, nodes[1].login(ada))

	var calls, failed atomic.Int64
	stop := make(chan struct{})
	var load sync.WaitGroup
	for range 4 {
		load.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				response, err := front.Client().Post(front.URL+"/v1/validate-token", "application/json", bytes.NewReader(body))
				if err == nil {
					err = wantOK(response)
				}
				if calls.Add(1); err != nil && failed.Add(1) <= 10 {
					t.Error(err)
				}
			}
		})
	}
	for i := range 3 {
		n := &nodes[i%2]
		if code := (*n).stop(syscall.SIGTERM); code != standard.ExitOK {
			t.Errorf("exit code %d", code)
		}
		*n = start(t, t.TempDir(), args[i%2]...)
		eventually(t, "the node takes calls again", bothReady)
	}
	close(stop)
	load.Wait()
	t.Logf("3 restarts, %d calls, %d failed", calls.Load(), failed.Load())
}
