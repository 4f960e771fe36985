package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chassi-go/chassi/internal/dbtest"
	"github.com/chassi-go/chassi/standard"
)

// What a caller and an operator see, while authd works, hangs and is unavailable: the same over
// both transports.
func TestNotes(t *testing.T) {
	t.Parallel()
	for _, over := range []string{"grpc", "nats"} {
		t.Run(over, func(t *testing.T) {
			t.Parallel()
			keys := t.TempDir()
			authd := startAuthd(t, "--database.url="+dbtest.SQLite(t), "--nats.url=embedded", "--nats.embedded.credentials_dir="+keys)
			where := []string{"--auth.transport=" + over, "--auth.target=" + authd.addr("grpc")}
			if over == "nats" {
				where = []string{"--auth.transport=nats", "--auth.nats.url=nats://" + authd.addr("nats embedded"), "--auth.nats.nkey_file=" + filepath.Join(keys, "default.nk")}
			}
			n := startNotes(t, login(t, authd), where...)
			walk(t, n)
			n.bounds(t)
			authd.hang()
			if a := n.ask(http.MethodGet, "/v1/notes", n.token, "", 200*time.Millisecond); a.status != http.StatusGatewayTimeout || a.took > time.Second {
				t.Errorf("a caller that waits 200 ms: %+v", a)
			}
			authd.end(syscall.SIGKILL)
			for range 20 {
				if a := n.list(); a.status != http.StatusServiceUnavailable || a.retryAfter < 1 {
					t.Errorf("authd away: %+v", a)
				}
			}
			if status, detail := n.ready(); status != http.StatusOK || !strings.HasPrefix(detail, "1 instance; ") || !strings.HasSuffix(detail, "breaker open") {
				t.Errorf("authd away: %d, %q", status, detail)
			}
			if n.instances("open") != 1 || n.events("breaker_open") < 1 || n.events("retry") < 1 {
				t.Errorf("%v open, %v opened, %v retries", n.instances("open"), n.events("breaker_open"), n.events("retry"))
			}
		})
	}
}

func walk(t *testing.T, n *notes) {
	t.Helper()
	for _, c := range []struct {
		method, token, body string
		status              int
		want                string
	}{
		{"GET", "", "", 401, `"error":"unauthenticated"`},
		{"GET", n.token + "x", "", 401, `"error":"invalid_token"`},
		{"POST", "nonsense", `{"text":"none"}`, 401, `"error":"invalid_token"`},
		{"POST", n.token, `{"text":""}`, 400, `"field":"text"`},
		{"GET", n.token, "", 200, `{"email":"ada@example.org","notes":[]}`},
		{"POST", n.token, `{"text":"buy milk"}`, 201, `{"email":"ada@example.org","notes":["buy milk"]}`},
		{"GET", n.token, "", 200, `{"email":"ada@example.org","notes":["buy milk"]}`},
	} {
		if a := n.ask(c.method, "/v1/notes", c.token, c.body, 0); a.status != c.status || !strings.Contains(a.body, c.want) {
			t.Errorf("%s with %.8s: %d %s, want %d and %s", c.method, c.token, a.status, a.body, c.status, c.want)
		}
	}
	if status, detail := n.ready(); status != http.StatusOK || detail != "1 instance" {
		t.Errorf("%d, %q", status, detail)
	}
	if n.instances("closed") != 1 || n.events("breaker_open") != 0 {
		t.Errorf("%v instances, %v opened", n.instances("closed"), n.events("breaker_open"))
	}
}

// bounds shows that memory has one.
func (n *notes) bounds(t *testing.T) {
	t.Helper()
	for i := 1; i <= maxOwn; i++ {
		a := n.ask(http.MethodPost, "/v1/notes", n.token, fmt.Sprintf(`{"text":"%d"}`, i), 0)
		if full := i == maxOwn; full != (a.status == http.StatusTooManyRequests) || !full && a.status != http.StatusCreated {
			t.Errorf("note %d: %+v", i, a)
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{}, {"--auth.transport=nats", "--auth.target=127.0.0.1:1"}, {"--auth.transport=pigeon"}, {"--auth.target=nowhere"}} {
		var stderr strings.Builder
		if code := program().Run(t.Context(), args, nil, os.Stdin, io.Discard, &stderr); code != standard.ExitUsage || !strings.Contains(stderr.String(), "auth.t") {
			t.Errorf("%q: exit %d, %s", args, code, stderr.String())
		}
	}
}
