package main

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/auth"
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

// Fault 34: while the database is unavailable every response is a retryable 503, never a 500, a token
// is not taken on trust, and all heals by itself.
func TestFault34DatabaseOutage(t *testing.T) {
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
		status, response := n.post("/v1/validate-token", "", object{"token": token})
		if status != http.StatusOK && status != http.StatusServiceUnavailable {
			t.Errorf("validate-token: %d %v", status, response)
		}
		return status == http.StatusServiceUnavailable
	})
	for _, path := range []string{"/v1/auth", "/v1/users"} {
		if status, response := n.post(path, "", ada); status != http.StatusServiceUnavailable {
			t.Errorf("%s: %d %v, want 503", path, status, response)
		}
	}

	p.Open()
	eventually(t, "readiness says yes", n.ready)
	if !n.accepts(token) || n.login(ada) == "" {
		t.Error("not healed")
	}
}

// R96: an outage of the database shows above INFO on every transport, in one access line for
// each route and not in one for each call.
func TestOutageShowsAboveInfoOnEveryTransport(t *testing.T) {
	t.Parallel()
	p, database := behindProxy(t)
	p.Open()
	amqpURL, prefix := rabbit(t)
	n := start(t, t.TempDir(), "--database.url="+database, "--amqp.url="+amqpURL, "--amqp.prefix="+prefix)
	n.awaitLog(`"server":"amqp"`)
	all := callers(t, n, amqpURL, prefix)
	p.Cut()
	const calls = 20
	for name, caller := range all {
		s, err := auth.NewClient(caller)
		if err != nil {
			t.Fatal(err)
		}
		for range calls {
			if _, err := s.SignUp(t.Context(), &auth.SignUpRequest{Email: "ada@example.org", Password: "an analytical engine"}); chassi.ErrorOf(err).Code != chassi.Unavailable {
				t.Errorf("%s: %v, want unavailable", name, err)
			}
		}
		eventually(t, "all calls are logged", func() bool {
			lines, warned := 0, 0
			for line := range strings.Lines(n.text()) {
				if strings.Contains(line, `"msg":"call"`) && strings.Contains(line, `"transport":"`+name+`"`) {
					lines++
					if strings.Contains(line, `"level":"WARN"`) && strings.Contains(line, `"cause":`) {
						warned++
					}
				}
			}
			if warned > 1 {
				t.Fatalf("%s: %d lines above INFO for one route", name, warned)
			}
			return lines == calls && warned == 1
		})
	}
}
