package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chassi-go/chassi/internal/dbtest"
	"github.com/chassi-go/chassi/standard"
)

// R89, fault 46: the program itself, with clocks that are set by an hour and by a day,
// forward and back: that of a node before it starts and while it runs, that of the command
// line's host, and that of the database.
func TestFault46ClocksThatAreSet(t *testing.T) {
	t.Parallel()
	program := buildWithClock(t)
	for _, by := range []time.Duration{time.Hour, 24 * time.Hour} {
		t.Run("postgres "+by.String(), func(t *testing.T) {
			t.Parallel()
			url, setDatabase := dbtest.PostgresWithClock(t)
			c := &clockCase{t: t, wrong: newMachine(t, program), right: newMachine(t, program), database: "--database.url=" + url}
			c.wrong.set(by)
			c.nodes = []*node{c.wrong.serve(c.database), c.right.serve(c.database)}
			c.wrong.run("user", "add", "ada@example.org", c.database)
			c.machines(by)
			c.forward(func() { setDatabase(by + time.Minute) })
			c.back(func() { setDatabase(0) })
		})
		// The database's clock is that of the machine.
		t.Run("sqlite "+by.String(), func(t *testing.T) {
			t.Parallel()
			m := newMachine(t, program)
			c := &clockCase{t: t, wrong: m, right: m, database: "--database.url=" + dbtest.SQLite(t)}
			c.nodes = []*node{m.serve(c.database)}
			m.run("user", "add", "ada@example.org", c.database)
			c.forward(func() { m.set(by + time.Minute) })
			c.back(func() { m.set(0) })
			// Nor does a restart, or a command, revive anything.
			if code := c.nodes[0].stop(syscall.SIGTERM); code != standard.ExitOK {
				t.Errorf("exit code %d", code)
			}
			c.nodes[0] = m.serve(c.database)
			c.accepted("an ended token, after a restart", c.ended, false)
			c.loggedIn("after a restart")
			c.commands(m)
		})
	}
}

// clockCase is nodes on one database, of which the first runs on the machine whose clock is
// wrong.
type clockCase struct {
	t            *testing.T
	wrong, right *machine
	database     string
	nodes        []*node
	ended        []string // tokens that ended because of the database's clock
}

// machines has the clock of one machine at by and, while its node runs, at the opposite.
func (c *clockCase) machines(by time.Duration) {
	for _, ahead := range []time.Duration{by, -by} {
		c.wrong.set(ahead)
		c.differs(ahead)
		c.loggedIn(fmt.Sprintf("on a machine %v ahead", ahead))
		c.lockEnds()
		c.commands(c.wrong)
	}
	c.wrong.set(0)
	c.nodes[0].awaitLog("of this machine and that of the database agree again")
	if n := strings.Count(c.nodes[1].text(), "clock of"); n != 0 {
		c.t.Errorf("the node with the right clock logged %d lines about clocks:\n%s", n, c.nodes[1].text())
	}
}

// differs waits until the node with the wrong clock shows the difference, and stays ready.
func (c *clockCase) differs(ahead time.Duration) {
	c.t.Helper()
	n := c.nodes[0]
	n.awaitLog("of this machine and that of the database differ")
	want := fmt.Sprintf(`authd_clock_difference_seconds{source="database"} %.0f`, ahead.Seconds())
	eventually(c.t, want, func() bool {
		for line := range strings.Lines(n.metrics()) {
			var got float64
			if _, err := fmt.Sscanf(line, `authd_clock_difference_seconds{source="database"} %g`, &got); err == nil {
				return got > ahead.Seconds()-60 && got < ahead.Seconds()+60
			}
		}
		return false
	})
	if status, text := n.readiness(); status != http.StatusOK || !strings.Contains(text, `"clock":{"status":"degraded"`) {
		c.t.Errorf("readiness: %d %s, want it ready and the clock degraded", status, text)
	}
}

func (c *clockCase) accepted(what string, tokens []string, accepted bool) {
	c.t.Helper()
	for i, raw := range tokens {
		for j, n := range c.nodes {
			if n.accepts(raw) != accepted {
				c.t.Errorf("%s: token %d on node %d, want it accepted: %t", what, i, j, accepted)
			}
		}
	}
}

// end waits until no node accepts any of the tokens.
func (c *clockCase) end(what string, tokens []string) {
	c.t.Helper()
	for _, raw := range tokens {
		for _, n := range c.nodes {
			eventually(c.t, what, func() bool { return !n.accepts(raw) })
		}
	}
}

// loggedIn returns a token of each node, good on all.
func (c *clockCase) loggedIn(what string) (tokens []string) {
	c.t.Helper()
	for _, n := range c.nodes {
		tokens = append(tokens, n.login(ada))
	}
	c.accepted(what, tokens, true)
	return tokens
}

// lockEnds has an account locked for a second by the node with the wrong clock.
func (c *clockCase) lockEnds() {
	c.t.Helper()
	for range 5 {
		c.nodes[0].post("/v1/auth", "", object{"email": ada["email"], "password": "another engine"})
	}
	for _, n := range c.nodes {
		eventually(c.t, "the lock ends", func() bool {
			status, _ := n.post("/v1/auth", "", ada)
			return status == http.StatusOK
		})
	}
}

// commands runs those that end tokens on a machine.
func (c *clockCase) commands(m *machine) {
	c.t.Helper()
	tokens := c.loggedIn("before the commands")
	m.run("key", "rotate", c.database)
	tokens = append(tokens, c.loggedIn("after key rotate")...)
	m.run("key", "revoke", c.database)
	c.end("a token of a revoked key ends", tokens)
	tokens = c.loggedIn("after key revoke")
	m.run("user", "disable", "ada@example.org", c.database)
	c.end("a token of a disabled account ends", tokens)
	m.run("user", "enable", "ada@example.org", c.database)
	for _, n := range c.nodes { // each remembers for a second that the account was disabled
		eventually(c.t, "a token of after user enable", func() bool { return n.accepts(n.login(ada)) })
	}
	c.accepted("a token of before the account was disabled", tokens, false)
}

// forward sets the database's clock to later than the end of the tokens there are.
func (c *clockCase) forward(set func()) {
	c.t.Helper()
	c.ended = c.loggedIn("before the clock of the database is set")
	set()
	c.end("a token whose end the database's clock shows", c.ended)
	c.loggedIn("after the clock of the database was set forward")
}

// back sets the clock of the database back, to before the end of those tokens.
func (c *clockCase) back(set func()) {
	c.t.Helper()
	set()
	for _, n := range c.nodes {
		n.awaitLog("what has ended stays ended")
	}
	c.accepted("a token that had ended before the clock of the database was set back", c.ended, false)
	for _, raw := range c.loggedIn("after the clock of the database was set back") {
		if off := time.Since(issued(c.t, raw)); off.Abs() > time.Minute {
			c.t.Errorf("a token shows that it was issued %v ago, want what the database's clock shows", off)
		}
	}
	c.lockEnds()
}

// issued is the time of issue that a token shows.
func issued(t *testing.T, raw string) time.Time {
	t.Helper()
	var claims struct{ Iat int64 }
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(raw, ".")[1])
	if err == nil {
		err = json.Unmarshal(payload, &claims)
	}
	if err != nil {
		t.Fatal(err)
	}
	return time.Unix(claims.Iat, 0)
}
