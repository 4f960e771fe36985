package main

import (
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"testing"

	"github.com/chassi-go/chassi/internal/dbtest"
)

// proxy stands between authd and PostgreSQL and can be cut.
type proxy struct {
	t            *testing.T
	addr, server string
	mu           sync.Mutex
	listener     net.Listener
	conns        []net.Conn
	running      sync.WaitGroup
}

// behindProxy returns a proxy that does not listen yet, and the URL of an empty
// database behind it.
func behindProxy(t *testing.T) (*proxy, string) {
	t.Helper()
	u, err := url.Parse(dbtest.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") // finds a free port
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{t: t, addr: l.Addr().String(), server: u.Host}
	l.Close()
	t.Cleanup(p.cut)
	u.Host = p.addr
	return p, u.String()
}

func (p *proxy) open() {
	p.t.Helper()
	l, err := net.Listen("tcp", p.addr)
	if err != nil {
		p.t.Fatal(err)
	}
	p.listener = l
	p.running.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", p.server)
			if err != nil {
				in.Close()
				continue
			}
			p.mu.Lock()
			p.conns = append(p.conns, in, out)
			p.mu.Unlock()
			p.running.Go(func() { _, _ = io.Copy(out, in); out.Close() })
			p.running.Go(func() { _, _ = io.Copy(in, out); in.Close() })
		}
	})
}

// cut resets what is open and refuses what comes.
func (p *proxy) cut() {
	if p.listener != nil {
		p.listener.Close()
	}
	p.mu.Lock()
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
	p.mu.Unlock()
	p.running.Wait()
}

// Fault 35: without its database authd is alive and not ready, and serves as
// soon as the database is there.
func TestFault35StartWithoutDatabase(t *testing.T) {
	t.Parallel()
	p, url := behindProxy(t)
	n := launch(t, t.TempDir(), "--database.url="+url)
	n.awaitLog("waiting for the database")
	if live, ready := n.get("/healthz"), n.get("/readyz"); live != http.StatusOK || ready != http.StatusServiceUnavailable {
		t.Errorf("healthz %d, readyz %d, want 200 and 503", live, ready)
	}
	p.open()
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
	p.open()
	n := start(t, t.TempDir(), "--database.url="+url)
	n.post("/v1/users", "", ada)
	token := n.login(ada)
	if !n.accepts(token) {
		t.Fatal("the token is not good")
	}

	p.cut()
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

	p.open()
	eventually(t, "readiness says yes", n.ready)
	if !n.accepts(token) || n.login(ada) == "" {
		t.Error("not healed")
	}
}
