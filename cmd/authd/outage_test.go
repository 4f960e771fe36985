package main

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/chassi-go/chassi/internal/dbtest"
	"github.com/chassi-go/chassi/internal/proxytest"
)

// behindProxy returns a proxy that does not listen yet, and the URL of an empty
// database behind it.
func behindProxy(t *testing.T) (*proxytest.Proxy, string) {
	t.Helper()
	u, err := url.Parse(dbtest.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	p := proxytest.New(t, u.Host)
	u.Host = p.Addr
	return p, u.String()
}

// Fault 35: without its database authd is alive and not ready, and serves as
// soon as the database is there.
func TestFault35StartWithoutDatabase(t *testing.T) {
	t.Parallel()
	p, url := behindProxy(t)
	n := launch(t, t.TempDir(), "--database.url="+url)
	n.awaitLog(`"component":"database"`)
	if live, ready := n.get("/healthz"), n.get("/readyz"); live != http.StatusOK || ready != http.StatusServiceUnavailable {
		t.Errorf("healthz %d, readyz %d, want 200 and 503", live, ready)
	}
	p.Open()
	n.awaitLog(`"msg":"serving"`)
	if !n.ready() {
		t.Error("not ready with its database there")
	}
	n.post("/v1/users", "", ada)
	if !n.accepts(n.login(ada)) {
		t.Error("no good token")
	}
}

// Fault 34: while the database is away every answer is a retryable 503, never a
// 500, a token is not taken on trust, and all heals by itself.
func TestFault34DatabaseGoesAwayAndComesBack(t *testing.T) {
	t.Parallel()
	p, url := behindProxy(t)
	p.Open()
	n := start(t, t.TempDir(), "--database.url="+url)
	n.post("/v1/users", "", ada)
	token := n.login(ada)
	if !n.accepts(token) {
		t.Fatal("the token is not good")
	}

	p.Cut()
	eventually(t, "readiness says no", func() bool { return !n.ready() })
	if live := n.get("/healthz"); live != http.StatusOK {
		t.Errorf("healthz %d, want 200", live)
	}
	eventually(t, "validation fails closed", func() bool {
		status, answer := n.post("/v1/validate-token", "", object{"token": token})
		if status != http.StatusOK && status != http.StatusServiceUnavailable {
			t.Errorf("validate-token: %d %v", status, answer)
		}
		return status == http.StatusServiceUnavailable
	})
	for _, path := range []string{"/v1/auth", "/v1/users"} {
		if status, answer := n.post(path, "", ada); status != http.StatusServiceUnavailable {
			t.Errorf("%s: %d %v, want 503", path, status, answer)
		}
	}

	p.Open()
	eventually(t, "readiness says yes", n.ready)
	if !n.accepts(token) || n.login(ada) == "" {
		t.Error("not healed")
	}
}
