package main

import (
	"bytes"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// The most telling cells of the matrix (docs/reliability.md): what must stay up does, no
// acknowledged write is lost or doubled, and all comes back by itself.
func TestShortForm(t *testing.T) {
	t.Parallel()
	root, err := repository()
	if err != nil {
		t.Fatal(err)
	}
	program, err := build(t.Context(), root, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var progress bytes.Buffer
	r, done, err := newRunner(t.Context(), root, program, 3*time.Second, 2, &progress)
	if err != nil {
		t.Fatal(err)
	}
	cells := short(allCells())
	results := r.run(t.Context(), cells)
	if err := done(); err != nil {
		t.Error(err)
	}
	t.Logf("%s", &progress)
	for _, result := range results {
		t.Run(result.cell.String(), func(t *testing.T) {
			t.Parallel()
			if result.notRun != "" {
				if os.Getenv("CI") == "true" && os.Getuid() == 0 {
					t.Fatal(result.notRun)
				}
				t.Skip(result.notRun)
			}
			for _, problem := range result.problems() {
				t.Error(problem)
			}
			if t.Failed() {
				t.Logf("the log ends:\n%s", result.tail)
			}
		})
	}
}

// Everything that a cell can fail to hold is found and named.
func TestProblemsAreFound(t *testing.T) {
	t.Parallel()
	at := time.Now()
	calls := func(o outcome) []sample {
		s := sample{began: at, ended: at.Add(time.Millisecond), outcome: o}
		if o != good {
			s.err = io.EOF
		}
		return []sample{s, s, s}
	}
	says := func(code int, status, text string) []reading {
		h := health{code: code, Status: "serving"}
		h.Checks = map[string]check{"redis": {Status: status, Error: text}}
		return []reading{{at, h}}
	}
	for name, c := range map[string]struct {
		spoil func(r *result)
		want  string // "" for none
	}{
		"all holds":            {func(*result) {}, ""},
		"down":                 {func(r *result) { r.fault["login"] = calls(unavailable) }, "login: 0 % of 3 calls"},
		"one call of the keys": {func(r *result) { r.fault[probeKeys] = append(calls(good), calls(unavailable)[0]) }, "JWKS: 75 % of 4 calls"},
		"no calls":             {func(r *result) { delete(r.fault, "gRPC") }, "gRPC: 0 % of 0 calls"},
		"waited for the end": {func(r *result) {
			r.fault["login"] = []sample{{began: at, ended: r.ended.Add(time.Second), outcome: good}}
		}, "they had no response by the end of the fault"},
		"a response that is not true": {func(r *result) { r.after["validate"] = calls(wrong) }, "validate, after the fault"},
		"not alive after":             {func(r *result) { r.after[probeLive] = calls(unavailable) }, "healthz after the fault"},
		"not ready":                   {func(r *result) { r.fault[probeReady] = calls(unavailable) }, "readiness said yes in 0 %"},
		"readiness is silent":         {func(r *result) { r.read = nil }, "readiness did not respond"},
		"readiness names another":     {func(r *result) { r.read = says(200, "ok", "") }, `readiness did not name "redis"`},
		"ready though it is not":      {func(r *result) { r.cell.expect.ready = false }, "readiness said yes"},
		"not back":                    {func(r *result) { r.missing = []string{"NATS"} }, "not back within"},
		"lost":                        {func(r *result) { r.lost = []string{"a@example.com"} }, "1 acknowledged sign-ups are lost"},
		"doubled":                     {func(r *result) { r.doubled = 2 }, "2 sign-ups were carried out twice"},
		"no orderly end":              {func(r *result) { r.exit = "1" }, "exit: 1"},
		"could not be measured":       {func(r *result) { r.err = io.EOF }, "EOF"},
		"ended by itself": {func(r *result) {
			r.died, r.tail, r.cell.expect.refuses, r.exit = true, "another text", "read-only", "ended by itself: 1"
		}, `authd ended by itself: 1, and its log does not contain "read-only"`},
		"refused to start": {func(r *result) {
			r.died, r.tail, r.cell.expect.refuses = true, "the disk is read-only", "read-only"
		}, ""},
	} {
		r := &result{
			cell: &cell{expect: expectation{up: all, ready: true, reason: "redis"}}, ended: at.Add(time.Second), slowest: time.Second, exit: "0",
			fault: map[string][]sample{probeReady: calls(good)}, after: make(map[string][]sample), read: says(200, "degraded", "redis: away"),
		}
		for _, probe := range all {
			r.fault[probe] = calls(good)
		}
		c.spoil(r)
		got := strings.Join(r.problems(), "\n")
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: found %q, want %q", name, got, c.want)
		}
	}
}

// The proxy passes, refuses, hangs, is slow and recovers, at one address.
func TestProxy(t *testing.T) {
	t.Parallel()
	echo, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { echo.Close() })
	go func() {
		for {
			conn, err := echo.Accept()
			if err != nil {
				return
			}
			go io.Copy(conn, conn)
		}
	}()
	p, err := newProxy(echo.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.close)
	dial := func() net.Conn {
		t.Helper()
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", p.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	echoes := func(conn net.Conn, wait time.Duration) error {
		_ = conn.SetDeadline(time.Now().Add(wait))
		if _, err := conn.Write([]byte("x")); err != nil {
			return err
		}
		_, err := io.ReadFull(conn, make([]byte, 1))
		return err
	}
	const long = 20 * time.Second
	conn := dial()
	if err := echoes(conn, long); err != nil {
		t.Errorf("passing: %v", err)
	}
	p.slow(100 * time.Millisecond)
	if began := time.Now(); echoes(conn, long) != nil || time.Since(began) < 200*time.Millisecond {
		t.Errorf("slow: the response came after %v, want 200 ms", time.Since(began))
	}
	p.hang()
	if err := echoes(conn, 300*time.Millisecond); err == nil {
		t.Error("it hangs, and a response came")
	}
	if err := p.pass(); err != nil {
		t.Fatal(err)
	}
	if err := echoes(conn, long); err != nil {
		t.Errorf("passing again: %v", err)
	}
	p.refuse()
	if err := echoes(conn, long); err == nil {
		t.Error("the connection goes on")
	}
	if _, err := new(net.Dialer).DialContext(t.Context(), "tcp", p.addr); err == nil {
		t.Error("it refuses, and a connection was made")
	}
	if err := p.pass(); err != nil {
		t.Fatal(err)
	}
	if err := echoes(dial(), long); err != nil {
		t.Errorf("after refusing: %v", err)
	}
}
