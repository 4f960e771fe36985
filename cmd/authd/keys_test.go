package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/internal/dbtest"
	"github.com/chassi-go/chassi/standard"
)

func newMasterKey() string {
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	return hex.EncodeToString(key)
}

// runAuthd runs authd until it exits and returns its output and its exit code.
func runAuthd(t *testing.T, dir string, args ...string) (out string, code int) {
	t.Helper()
	cmd := authd(dir, args...)
	cmd.Stdin = strings.NewReader("an analytical engine\n")
	text, _ := cmd.CombinedOutput()
	return string(text), cmd.ProcessState.ExitCode()
}

// succeed is runAuthd that must succeed.
func succeed(t *testing.T, dir string, args ...string) string {
	t.Helper()
	out, code := runAuthd(t, dir, args...)
	if code != standard.ExitOK {
		t.Fatalf("authd %v: exit %d\n%s", args, code, out)
	}
	return out
}

// fails is runAuthd that must exit with 1 and write all of want.
func fails(t *testing.T, dir string, args []string, want ...string) {
	t.Helper()
	out, code := runAuthd(t, dir, args...)
	if code != standard.ExitFailed {
		t.Errorf("authd %v: exit %d, want %d\n%s", args, code, standard.ExitFailed, out)
	}
	for _, w := range want {
		if !strings.Contains(out, w) {
			t.Errorf("authd %v: no %q in:\n%s", args, w, out)
		}
	}
}

// readiness returns the response of /readyz.
func (n *node) readiness() (status int, text string) {
	n.t.Helper()
	response, err := http.Get(n.admin + "/readyz")
	if err != nil {
		n.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		n.t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

// R88: a command with another master key than the nodes', or none, changes no key, says so
// and exits with 1; with the right one its claims hold.
func TestKeyCommandsVerifyTheMasterKey(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		dir, db, key := t.TempDir(), "--database.url="+url, "--token.master_key="+newMasterKey()
		n := start(t, dir, db, key)
		n.post("/v1/users", "", ada)
		token := n.login(ada)
		before := succeed(t, dir, "key", "list", db, key)
		for _, c := range []string{"revoke", "rotate", "rewrap"} {
			fails(t, dir, []string{"key", c, db, "--token.master_key=" + newMasterKey()}, "another master key", "nothing was changed", "authd key reset")
			if c != "rewrap" {
				fails(t, dir, []string{"key", c, db}, "another master key", "token.master_key is not set")
			}
		}
		if after := succeed(t, dir, "key", "list", db, key); after != before || !n.accepts(token) {
			t.Errorf("the keys were changed:\n%s\nwant\n%s", after, before)
		}
		succeed(t, dir, "key", "revoke", db, key)
		eventually(t, "the revoked token ends", func() bool { return !n.accepts(token) })
		fresh := n.login(ada)
		if n.stop(syscall.SIGTERM) != standard.ExitOK {
			t.Error("no clean end")
		}
		if again := start(t, dir, db, key); !again.accepts(fresh) || !again.ready() {
			t.Error("not good after a restart")
		}
	})
}

// A node with the wrong master key, as after a bad deployment, is alive and not ready, and
// says why in readiness, log and metric. Its siblings are not touched.
func TestAnotherMasterKeyIsReported(t *testing.T) {
	t.Parallel()
	db := "--database.url=" + dbtest.Postgres(t)
	good := start(t, t.TempDir(), db, "--token.master_key="+newMasterKey())
	good.post("/v1/users", "", ada)
	token := good.login(ada)
	for _, args := range [][]string{{db}, {db, "--token.master_key=" + newMasterKey()}} {
		bad := start(t, t.TempDir(), args...)
		bad.awaitLog("signing keys cannot be opened")
		status, text := bad.readiness()
		if status != http.StatusServiceUnavailable || bad.get("/healthz") != http.StatusOK || !strings.Contains(text, "token.master_key") {
			t.Errorf("readyz %d %s", status, text)
		}
		if text := bad.metrics(); !strings.Contains(text, `authd_signing_keys{state="unreadable"} 1`) || !strings.Contains(text, `authd_signing_keys{state="usable"} 0`) {
			t.Error("the metrics do not tell")
		}
		for path, body := range map[string]object{"/v1/validate-token": {"token": token}, "/v1/auth": ada} {
			if status, response := bad.post(path, "", body); status != http.StatusServiceUnavailable {
				t.Errorf("%s: %d %v, want 503", path, status, response)
			}
		}
	}
	if _, text := good.readiness(); !good.accepts(token) || !good.ready() || !strings.Contains(text, `"keys":{"status":"ok","detail":"1 in use"`) {
		t.Errorf("the other node: %s", text)
	}
}

// validateAll validates the tokens on the nodes until stop is called, and counts.
func validateAll(t *testing.T, nodes func() []*node, tokens func() []string) (stop func() int64) {
	ctx, cancel := context.WithCancel(t.Context())
	var load sync.WaitGroup
	var count atomic.Int64
	load.Go(func() {
		for ctx.Err() == nil {
			for _, n := range nodes() {
				for _, token := range tokens() {
					if !n.accepts(token) {
						t.Error("a good token was refused")
					}
					count.Add(1)
				}
			}
		}
	})
	return func() int64 { cancel(); load.Wait(); return count.Load() }
}

// The procedure of docs/operations.md for a new master key, node by node and under load: no
// token is refused at any step.
func TestTheMasterKeyIsChangedWhileNodesServe(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]string{"from another": newMasterKey(), "from none": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, db, next := t.TempDir(), "--database.url="+dbtest.Postgres(t), newMasterKey()
			before := []string{db, "--token.master_key=" + first}
			both := []string{db, "--token.master_key=" + next, "--token.old_master_key=" + first}
			after := []string{db, "--token.master_key=" + next}

			var mu sync.Mutex
			nodes := []*node{start(t, dir, before...), start(t, dir, before...)}
			nodes[0].post("/v1/users", "", ada)
			tokens := []string{nodes[0].login(ada)}
			stop := validateAll(t,
				func() []*node { mu.Lock(); defer mu.Unlock(); return append([]*node(nil), nodes...) },
				func() []string { mu.Lock(); defer mu.Unlock(); return append([]string(nil), tokens...) })
			login := func(n *node) {
				token := n.login(ada)
				mu.Lock()
				defer mu.Unlock()
				tokens = append(tokens, token)
			}
			replace := func(args []string) { // a rolling restart
				t.Helper()
				for i := range nodes {
					fresh := start(t, dir, args...)
					mu.Lock()
					nodes[i] = fresh // the old one ends with the test: calls may be on their way to it
					mu.Unlock()
					login(fresh)
				}
			}
			replace(both)
			succeed(t, dir, append([]string{"key", "rotate"}, both...)...)
			if out := succeed(t, dir, append([]string{"key", "rewrap"}, both...)...); !strings.Contains(out, "2 signing keys are encrypted") {
				t.Error(out)
			}
			login(nodes[0])
			replace(after)
			succeed(t, dir, append([]string{"key", "rotate"}, after...)...)
			login(nodes[1])
			t.Logf("%d validations", stop())
			if out := succeed(t, dir, append([]string{"key", "list"}, after...)...); strings.Contains(out, "false") {
				t.Errorf("not all are encrypted:\n%s", out)
			}
			if first != "" {
				fails(t, dir, append([]string{"key", "rotate"}, before...), "another master key")
			}
		})
	}
}

// On SQLite there is one node: a master key that is set later seals what there is.
func TestAMasterKeySetLaterSealsTheKeysOfTheOnlyNode(t *testing.T) {
	t.Parallel()
	dir, key := t.TempDir(), "--token.master_key="+newMasterKey()
	n := start(t, dir)
	n.post("/v1/users", "", ada)
	token := n.login(ada)
	n.stop(syscall.SIGTERM)
	if n = start(t, dir, key); !n.accepts(token) {
		t.Error("its tokens ended")
	}
	if out := succeed(t, dir, "key", "list", key); !strings.Contains(out, "EdDSA      true") {
		t.Error(out)
	}
}

// The procedure of docs/operations.md for a lost master key.
func TestALostMasterKeyIsReset(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		dir, db, key := t.TempDir(), "--database.url="+url, "--token.master_key="+newMasterKey()
		n := start(t, dir, db, "--token.master_key="+newMasterKey())
		n.post("/v1/users", "", ada)
		token := n.login(ada)
		n.stop(syscall.SIGTERM)
		n = start(t, dir, db, key)
		if n.ready() {
			t.Fatal("ready without the master key")
		}
		if out, code := runAuthd(t, dir, "key", "reset", db, key); code != standard.ExitUsage || !strings.Contains(out, "--yes") {
			t.Errorf("without --yes: exit %d\n%s", code, out)
		}
		fails(t, dir, []string{"key", "reset", "--yes", db}, "token.master_key is not set", "nothing was changed")
		succeed(t, dir, "key", "reset", "--yes", db, key)
		eventually(t, "the running node has the new key", n.ready)
		if n.accepts(token) || !n.accepts(n.login(ada)) {
			t.Error("tokens are not as they should be")
		}
		n.awaitLog("all signing keys can be opened again")
		fails(t, dir, []string{"key", "reset", "--yes", db, key}, "a reset is not needed")
	})
}

// R97: commands on a database that does not exist, or is empty, create nothing. The path
// and the setting are named.
func TestOnlyServeAndMigrateCreate(t *testing.T) {
	t.Parallel()
	commands := [][]string{
		{"user", "list"}, {"user", "add", "eve@example.org"}, {"user", "passwd", "eve@example.org"}, {"user", "disable", "eve@example.org"},
		{"user", "enable", "eve@example.org"}, {"user", "delete", "eve@example.org", "--yes"}, {"key", "list"}, {"key", "rotate"}, {"key", "revoke"},
		{"key", "rewrap"}, {"key", "reset", "--yes"}, {"export"},
	}
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		for _, c := range append(commands, []string{"backup", "copy.db"}) {
			dir := t.TempDir()
			fails(t, dir, append(c, "--database.url=sqlite:mistyped.db"), "mistyped.db", "database.url", "authd migrate")
			if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
				t.Errorf("authd %v created %v, %v", c, left, err)
			}
		}
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		url := dbtest.Postgres(t)
		for _, c := range commands {
			fails(t, t.TempDir(), append(c, "--database.url="+url), "no schema", "authd migrate")
		}
		db, err := database.Open(t.Context(), database.Config{URL: url})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		var tables int
		if err := db.QueryRow(t.Context(), "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").Scan(&tables); err != nil || tables != 0 {
			t.Errorf("%d tables, %v", tables, err)
		}
	})
}

// R97: a database of an older or newer authd stays as it is, whatever the command.
func TestCommandsDoNotMigrate(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		dir, flag := t.TempDir(), "--database.url="+url
		succeed(t, dir, "migrate", flag)
		versions := func(statement string) {
			t.Helper()
			db, err := database.Open(t.Context(), database.Config{URL: url})
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			if _, err := db.Exec(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
		}
		versions("DELETE FROM goose_db_version WHERE version_id = 5")
		versions("DROP TABLE clock")
		for _, c := range [][]string{{"user", "list"}, {"key", "list"}, {"key", "revoke"}, {"user", "add", "eve@example.org"}, {"export"}} {
			fails(t, dir, append(c, flag), "older than this program", "authd migrate")
		}
		if out := succeed(t, dir, "migrate", flag); !strings.Contains(out, "00005_clock.sql") {
			t.Error(out)
		}
		versions(fmt.Sprintf("INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, %s)", "true"))
		for _, c := range [][]string{{"user", "list"}, {"key", "list"}, {"key", "revoke"}, {"export"}} {
			fails(t, dir, append(c, flag), "newer than this program", "99999")
		}
	})
}

// Only commands whose purpose it is create the file of the database, whether the others work
// without one or not.
func TestCommandsDoNotCreateTheDatabase(t *testing.T) {
	t.Parallel()
	creating := []string{"serve", "migrate", "nats add"}
	list := []standard.Command[Config]{{Name: "schema", Args: "KIND"}, {Name: "config"}, {Name: "healthcheck"}, {Name: "version"}}
	for _, c := range append(list, newProgram().Commands...) {
		if slices.Contains(creating, c.Name) {
			continue
		}
		dir := t.TempDir()
		args := strings.Fields(c.Name)
		for word := range strings.FieldsSeq(c.Args) {
			if !strings.HasPrefix(word, "[") {
				args = append(args, "missing@example.org")
			}
		}
		if strings.Contains(c.Args, "[--yes]") {
			args = append(args, "--yes")
		}
		out, _ := runAuthd(t, dir, args...)
		if left, _ := os.ReadDir(dir); len(left) != 0 {
			t.Errorf("authd %v created %v:\n%s", args, left, out)
		}
	}
}
