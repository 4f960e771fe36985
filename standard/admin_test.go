package standard_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
)

// clientFrom returns a client that connects from a loopback address, which stands for one
// client of the server.
func clientFrom(t *testing.T, from string) *http.Client {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	transport := &http.Transport{DisableKeepAlives: true, DialContext: d.DialContext}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 20 * time.Second}
}

func status(t *testing.T, c *http.Client, url string) int {
	t.Helper()
	response, err := c.Get(url)
	if err != nil {
		t.Error(err)
		return 0
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	if response.StatusCode == http.StatusTooManyRequests && response.Header.Get("Retry-After") == "" {
		t.Error("429 without Retry-After")
	}
	return response.StatusCode
}

// One client that takes profile after profile, or connects without end, leaves the admin
// listener to others.
func TestAdminListenerIsBoundedForEachClient(t *testing.T) {
	t.Parallel()
	r := start(t, defaults(t, "--admin.max_connections_per_client=8"))
	defer r.stop(t)
	admin := "http://" + r.Admin.Addr().String()
	greedy, other := clientFrom(t, "127.0.0.2"), clientFrom(t, "127.0.0.3")

	ctx, cancel := context.WithCancel(t.Context())
	var profiles sync.WaitGroup
	for range 2 {
		profiles.Go(func() { // heap in the difference of 30 s, until it is let in
			for ctx.Err() == nil {
				request, err := http.NewRequestWithContext(ctx, http.MethodGet, admin+"/debug/pprof/heap?seconds=30", nil)
				if err != nil {
					t.Error(err)
					return
				}
				if response, err := greedy.Do(request); err == nil {
					response.Body.Close()
				}
			}
		})
	}
	await(t, "the third profile of one client is refused", func() bool {
		return status(t, greedy, admin+"/debug/pprof/heap") == http.StatusTooManyRequests
	})
	for path, want := range map[string]int{"/debug/pprof/heap": 200, "/metrics": 200, "/readyz": 200} {
		if got := status(t, other, admin+path); got != want {
			t.Errorf("another client, %s: %d", path, got)
		}
	}
	cancel()
	profiles.Wait()
	await(t, "profiles that have ended are counted", func() bool { return status(t, greedy, admin+"/debug/pprof/heap") == http.StatusOK })
	for _, path := range []string{"profile?seconds=100000", "profile?seconds=nan", "trace?seconds=1e9", "heap?seconds=121", "trace?seconds=-1"} {
		if got := status(t, other, admin+"/debug/pprof/"+path); got != http.StatusBadRequest {
			t.Errorf("%s: %d", path, got)
		}
	}

	var held []net.Conn
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.0.2")}}
	for range 8 {
		conn, err := d.DialContext(t.Context(), "tcp", r.Admin.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		held = append(held, conn)
	}
	await(t, fmt.Sprint(len(held), " connections of one client are all it gets"), func() bool {
		response, err := greedy.Get(admin + "/healthz")
		if err != nil {
			return true // closed before the request was sent
		}
		response.Body.Close()
		return response.StatusCode == http.StatusServiceUnavailable
	})
	if got := status(t, other, admin+"/healthz"); got != http.StatusOK {
		t.Errorf("another client: %d", got)
	}
	_, metrics := get(t, r.Admin.Addr(), "/metrics")
	if !strings.Contains(metrics, `connections_refused_clients_total{server="admin"}`) || strings.Contains(metrics, `connections_refused_clients_total{server="admin"} 0`) {
		t.Error("refused connections are not among the metrics")
	}
}

// However often readiness is asked, what it looks at is asked four times a second.
func TestReadinessIsNotAWayToTheDatabase(t *testing.T) {
	t.Parallel()
	var probes atomic.Int64
	r := startWith(t, defaults(t), func(r *running) {
		r.AddCheck("database", func(context.Context) error { probes.Add(1); return nil })
	})
	defer r.stop(t)
	client, began := &http.Client{Timeout: 10 * time.Second}, time.Now()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 100 {
				if got := status(t, client, "http://"+r.Admin.Addr().String()+"/readyz"); got != http.StatusOK {
					t.Errorf("readyz: %d", got)
				}
			}
		})
	}
	all.Wait()
	client.CloseIdleConnections()
	took := time.Since(began)
	limit := int64(took/(250*time.Millisecond)) + 1 + int64(took/(5*time.Second)) + 1 // and the App's own
	if n := probes.Load(); n > limit {
		t.Errorf("800 requests made %d probes, want at most %d", n, limit)
	}
}

// One client with all the calls under way that it may have leaves the others theirs, on the
// listeners as they are assembled here.
func TestCallsOfOneClientAreBounded(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	var inside atomic.Int64
	r := startWith(t, defaults(t, "--overload.max_in_flight_per_client=2"), func(r *running) {
		r.Mount(chassi.NewService("test.v1.Slow", chassi.NewEndpoint("Wait", func(ctx context.Context, _ *struct{}) (*greeting, error) {
			inside.Add(1)
			defer inside.Add(-1)
			select {
			case <-release:
			case <-ctx.Done():
			}
			return &greeting{"done"}, nil
		}, chassi.Route("GET /wait"), chassi.Public)))
	})
	defer r.stop(t)
	url := "http://" + r.HTTP.Addr().String()
	greedy, other := clientFrom(t, "127.0.0.2"), clientFrom(t, "127.0.0.3")
	var waiting sync.WaitGroup
	for range 2 {
		waiting.Go(func() {
			if got := status(t, greedy, url+"/wait"); got != http.StatusOK {
				t.Errorf("a call that waits: %d", got)
			}
		})
	}
	await(t, "two calls are under way", func() bool { return inside.Load() == 2 })
	if got := status(t, greedy, url+"/greet"); got != http.StatusTooManyRequests {
		t.Errorf("the third call of one client: %d", got)
	}
	if got := status(t, other, url+"/greet"); got != http.StatusOK {
		t.Errorf("another client: %d", got)
	}
	close(release)
	waiting.Wait()
	if got := status(t, greedy, url+"/greet"); got != http.StatusOK {
		t.Errorf("the same client, when its calls have ended: %d", got)
	}
}

func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	tick, limit := time.NewTicker(5*time.Millisecond), time.After(10*time.Second)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

// A body of a request to the admin listener is not read: net/http/pprof parses forms, of
// which large parts become temporary files.
func TestAdminListenerKeepsNoBodies(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	r := start(t, defaults(t))
	defer r.stop(t)
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, err := form.CreateFormFile("file", "large")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := part.Write(make([]byte, 40<<20)); err != nil { // net/http keeps 32 MiB in memory
		t.Fatal(err)
	}
	if err := form.Close(); err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+r.Admin.Addr().String()+"/debug/pprof/goroutine?debug=1", &body)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", form.FormDataContentType())
	seen := make(chan int, 1)
	done := make(chan struct{})
	go func() {
		highest := 0
		for {
			select {
			case <-done:
				seen <- highest
				return
			default:
				entries, _ := os.ReadDir(dir)
				highest = max(highest, len(entries))
			}
		}
	}()
	response, err := http.DefaultClient.Do(request)
	if err == nil { // the listener may end the connection instead of reading so much
		if text, err := io.ReadAll(response.Body); response.StatusCode == http.StatusOK && (err != nil || !strings.Contains(string(text), "goroutine profile")) {
			t.Errorf("%v: %.100s", err, text)
		}
		_ = response.Body.Close()
	}
	http.DefaultClient.CloseIdleConnections()
	close(done)
	if n := <-seen; n > 0 {
		t.Errorf("%d temporary files were made", n)
	}
}
