package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chassi-go/chassi/auth/store"
	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/internal/dbtest"
	"github.com/chassi-go/chassi/standard"
)

const aPassword = "an analytical engine"

// R100: a backup of a node under sign-ups has each one that was acknowledged before it
// began, is sound, and disturbs no call; restored, it serves.
func TestBackupUnderSignUps(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	n := start(t, dir, "--hash.max_queued=1000")
	var mu sync.Mutex
	acknowledged := make(map[string]time.Time)
	stop, enough := make(chan struct{}), make(chan struct{})
	var load sync.WaitGroup
	for worker := range 4 {
		load.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				email := fmt.Sprintf("w%d-%d@example.org", worker, i)
				status, response, err := n.try(http.MethodPost, "/v1/users", "", object{"email": email, "password": aPassword})
				if err != nil || status != http.StatusAccepted {
					t.Errorf("sign-up during the backup: %d %v %v", status, response, err)
					return
				}
				mu.Lock()
				acknowledged[email] = time.Now()
				if len(acknowledged) == 50 {
					close(enough)
				}
				mu.Unlock()
			}
		})
	}
	<-enough
	count := func() int { mu.Lock(); defer mu.Unlock(); return len(acknowledged) }
	type made struct {
		file  string
		began time.Time
	}
	var backups []made
	for i := range 5 {
		before := count()
		eventually(t, "more sign-ups", func() bool { return count() >= before+10 })
		b := made{filepath.Join(t.TempDir(), "authd.backup"), time.Now()}
		if out := succeed(t, dir, "backup", b.file); !strings.Contains(out, "backed up ") {
			t.Errorf("backup %d: %s", i, out)
		}
		backups = append(backups, b)
	}
	close(stop)
	load.Wait()
	if n.stop(syscall.SIGTERM) != standard.ExitOK {
		t.Error("no clean end")
	}
	for _, b := range backups {
		info, err := os.Stat(b.file)
		if err != nil || info.Mode() != 0o600 {
			t.Errorf("%v, %v, want mode 0600", info.Mode(), err)
		}
		if left, _ := os.ReadDir(filepath.Dir(b.file)); len(left) != 1 {
			t.Errorf("the backup is %v, want one file", left)
		}
		to := t.TempDir()
		succeed(t, to, "restore", b.file)
		checkIntegrity(t, filepath.Join(to, "authd.db"))
		list, had := succeed(t, to, "user", "list"), 0
		for email, at := range acknowledged {
			if at.Before(b.began) {
				had++
				if !strings.Contains(list, email+" ") {
					t.Errorf("%s was acknowledged before the backup and is not in it", email)
				}
			}
		}
		t.Logf("%d of %d accounts were acknowledged before the backup", had, len(acknowledged))
	}
	to := t.TempDir()
	succeed(t, to, "restore", backups[len(backups)-1].file)
	restored := start(t, to)
	if !restored.ready() || !restored.accepts(restored.login(object{"email": "w0-0@example.org", "password": aPassword})) {
		t.Error("the restored database does not serve")
	}
}

// What had ended before the restore stays ended after it: tokens that a new password or a
// revoked key ended after the backup, and every other one.
func TestRestoreEndsAllTokens(t *testing.T) {
	t.Parallel()
	dir, to := t.TempDir(), t.TempDir()
	file := filepath.Join(dir, "authd.backup")
	n := start(t, dir)
	for _, email := range []string{"ada@example.org", "eve@example.org"} {
		n.post("/v1/users", "", object{"email": email, "password": aPassword})
	}
	eve := object{"email": "eve@example.org", "password": aPassword}
	tokens := []string{n.login(ada), n.login(eve)}
	succeed(t, dir, "backup", file)
	if status, response := n.post("/v1/me/password", tokens[0], object{"old_password": aPassword, "new_password": "a difference engine"}); status != http.StatusOK {
		t.Fatalf("%d %v", status, response)
	}
	succeed(t, dir, "key", "revoke")
	eventually(t, "the tokens end", func() bool { return !n.accepts(tokens[0]) && !n.accepts(tokens[1]) })
	tokens = append(tokens, n.login(eve))
	n.stop(syscall.SIGTERM)
	succeed(t, to, "restore", file)
	restored := start(t, to)
	fresh := restored.login(ada)
	for i, token := range tokens {
		if restored.accepts(token) {
			t.Errorf("token %d is good again", i)
		}
	}
	if !restored.accepts(fresh) {
		t.Error("a new token is not good")
	}
}

// The check value in a backup distinguishes its master key from another one before authd serves.
func TestRestoreVerifiesTheMasterKey(t *testing.T) {
	t.Parallel()
	dir, file := t.TempDir(), filepath.Join(t.TempDir(), "authd.backup")
	first, next := newMasterKey(), newMasterKey()
	n := start(t, dir, "--token.master_key="+first)
	n.post("/v1/users", "", ada)
	succeed(t, dir, "backup", file) // needs no master key
	n.stop(syscall.SIGTERM)
	for _, args := range [][]string{{"restore", file}, {"restore", file, "--token.master_key=" + next}} {
		to := t.TempDir()
		fails(t, to, args, "the backup cannot be used", "another master key", "nothing was restored", "--new-master-key")
		if left, _ := os.ReadDir(to); len(left) != 0 {
			t.Errorf("%v was left behind", left)
		}
	}
	for _, args := range [][]string{
		{"--token.master_key=" + first},
		{"--token.master_key=" + next, "--token.old_master_key=" + first},
		{"--token.master_key=" + next, "--new-master-key"},
	} {
		to := t.TempDir()
		succeed(t, to, append([]string{"restore", file}, args...)...)
		serve := slices.DeleteFunc(args, func(arg string) bool { return arg == "--new-master-key" })
		r := start(t, to, serve...)
		if status, text := r.readiness(); status != http.StatusOK {
			t.Errorf("restored with %q: not ready: %s", serve, text)
		}
		if !r.accepts(r.login(ada)) {
			t.Errorf("restored with %q: a new token is not accepted", serve)
		}
	}
}

func TestRestoreRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "authd.backup")
	n := start(t, dir)
	n.post("/v1/users", "", ada)
	succeed(t, dir, "backup", file)
	fails(t, dir, []string{"restore", file}, "authd.db", "in use by another process", "stop the node")
	fails(t, dir, []string{"backup", file}, "already exists")
	n.stop(syscall.SIGTERM)
	fails(t, dir, []string{"restore", file}, "authd.db exists, with 1 accounts")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	damaged := slices.Clone(text)
	for i := 4096 + 100; i < 3*4096; i++ {
		damaged[i] ^= 0xff
	}
	other := filepath.Join(t.TempDir(), "other.db")
	db, err := database.Open(t.Context(), database.Config{URL: "sqlite:" + other})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(t.Context(), "CREATE TABLE users (id TEXT)"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	foreign, err := os.ReadFile(other)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		backup []byte
		beside string // a file that is there
		want   string
	}{
		"damaged":             {damaged, "", "copy the backup"},
		"cut off":             {text[:len(text)/2], "", "copy the backup"},
		"empty":               {nil, "", "no schema"},
		"text":                {[]byte(strings.Repeat("no database ", 999)), "", "not a database"},
		"of another program":  {foreign, "", "no schema"},
		"half a database":     {text, "in.backup-wal", "a database in use and not a backup"},
		"log of the target":   {text, "authd.db-wal", "authd.db-wal exists"},
		"target is no file":   {text, "authd.db/x", "authd.db exists"},
		"target is something": {text, "authd.db", "authd.db exists"},
	} {
		to := t.TempDir()
		in := filepath.Join(to, "in.backup")
		if err := os.WriteFile(in, c.backup, 0o600); err != nil {
			t.Fatal(err)
		}
		if c.beside != "" {
			if err := os.MkdirAll(filepath.Dir(filepath.Join(to, c.beside)), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(to, c.beside), []byte("something"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		before, _ := os.ReadDir(to)
		fails(t, to, []string{"restore", in}, c.want)
		if after, _ := os.ReadDir(to); len(after) != len(before) {
			t.Errorf("%s: left %v behind", name, after)
		}
	}
	fails(t, t.TempDir(), []string{"restore", "missing"}, "missing")
}

// An older schema is what is backed up before an update; restore brings it up to date. A
// newer one cannot be restored by this program.
func TestBackupsOfOtherSchemas(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	succeed(t, dir, "migrate")
	succeed(t, dir, append([]string{"user", "add", "ada@example.org"}, cheap...)...)
	change := func(statements ...string) {
		t.Helper()
		db, err := database.Open(t.Context(), database.Config{URL: "sqlite:" + filepath.Join(dir, "authd.db")})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		for _, s := range statements {
			if _, err := db.Exec(t.Context(), s); err != nil {
				t.Fatal(err)
			}
		}
	}
	change("DELETE FROM goose_db_version WHERE version_id = 5", "DROP TABLE clock")
	to, old, newer := t.TempDir(), filepath.Join(dir, "old.backup"), filepath.Join(dir, "new.backup")
	succeed(t, dir, "backup", old)
	succeed(t, to, "restore", old)
	if out := succeed(t, to, "user", "list"); !strings.Contains(out, "ada@example.org") {
		t.Error(out)
	}
	change("INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, 1)")
	succeed(t, dir, "backup", newer)
	fails(t, t.TempDir(), []string{"restore", newer}, "newer than this program")
}

// Backup and restore name PostgreSQL's tools.
func TestBackupOfPostgresIsPostgres(t *testing.T) {
	t.Parallel()
	for command, want := range map[string]string{"backup": "pg_dump", "restore": "pg_restore"} {
		for _, url := range []string{"postgres://127.0.0.1/authd", "sqlite::memory:"} {
			if out, code := runAuthd(t, t.TempDir(), command, "file", "--database.url="+url); code != standard.ExitUsage || !strings.Contains(out, want) || !strings.Contains(out, "docs/operations.md") {
				t.Errorf("%s: exit %d\n%s", command, code, out)
			}
		}
	}
}

// R100: the file alone has the tables once a node serves, and is the whole database after a
// clean end, even while another process has it open.
func TestTheFileAloneIsCompleteAfterACleanEnd(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	n := start(t, dir)
	file := filepath.Join(dir, "authd.db")
	list := func() string {
		t.Helper()
		to := t.TempDir()
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, "authd.db"), text, 0o600); err != nil {
			t.Fatal(err)
		}
		return succeed(t, to, "user", "list")
	}
	list()
	reader, err := database.OpenReadOnly(t.Context(), database.Config{URL: "sqlite:" + file})
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	n.post("/v1/users", "", ada)
	if n.stop(syscall.SIGTERM) != standard.ExitOK {
		t.Error("no clean end")
	}
	if out := list(); !strings.Contains(out, "ada@example.org") {
		t.Error(out)
	}
}

// A deleted account is gone on every node, with its tokens; its address is free.
func TestUserDelete(t *testing.T) {
	t.Parallel()
	db := "--database.url=" + dbtest.Postgres(t)
	nodes := [2]*node{start(t, t.TempDir(), db), start(t, t.TempDir(), db)}
	testUserDelete(t, db, nodes[:])
}

func TestUserDeleteOnSQLite(t *testing.T) {
	t.Parallel()
	db := "--database.url=" + dbtest.SQLite(t)
	testUserDelete(t, db, []*node{start(t, t.TempDir(), db)})
}

func testUserDelete(t *testing.T, db string, nodes []*node) {
	t.Helper()
	dir, n := t.TempDir(), nodes[0]
	n.post("/v1/users", "", ada)
	token := n.login(ada)
	_, me, err := n.try(http.MethodGet, "/v1/me", token, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		if !n.accepts(token) {
			t.Fatal("the token is not good")
		}
	}
	if out, code := runAuthd(t, dir, "user", "delete", "ada@example.org", db); code != standard.ExitUsage || !strings.Contains(out, "--yes") || !n.accepts(token) {
		t.Errorf("without --yes: exit %d\n%s", code, out)
	}
	if out := succeed(t, dir, "user", "delete", "Ada@example.org", "--yes", db); !strings.Contains(out, "deleted") {
		t.Error(out)
	}
	for _, n := range nodes {
		eventually(t, "the token ends", func() bool { return !n.accepts(token) })
		if status, response := n.post("/v1/auth", "", ada); status != http.StatusNotFound {
			t.Errorf("login: %d %v", status, response)
		}
	}
	fails(t, dir, []string{"user", "delete", "ada@example.org", "--yes", db}, "no account has the address")
	fails(t, dir, []string{"user", "delete", "nonsense", "--yes", db}, "Invalid e-mail address")
	n.post("/v1/users", "", ada)
	fresh := n.login(ada)
	_, again, err := n.try(http.MethodGet, "/v1/me", fresh, nil)
	if err != nil || again["id"] == me["id"] || n.accepts(token) {
		t.Errorf("%v after %v, %v: the old account is back", again, me, err)
	}
}

// An export has each account on a line, in the order of the addresses, page after page.
func TestExport(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		dir, flag := t.TempDir(), "--database.url="+url
		succeed(t, dir, "migrate", flag)
		db, err := database.Open(t.Context(), database.Config{URL: url})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		s := store.New(db)
		born := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
		want := make([]exported, 2*exportPage+1)
		for i := range want {
			want[i] = exported{ID: fmt.Sprint("id", i), Email: fmt.Sprintf("u%05d@example.org", i), CreatedAt: born, Disabled: i%2 == 0, PasswordHash: "$argon2id$canary"}
			u := store.User{ID: want[i].ID, Email: want[i].Email, Password: want[i].PasswordHash, Disabled: want[i].Disabled, CreatedAt: born, Generation: 1}
			if err := s.AddUser(t.Context(), u); err != nil {
				t.Fatal(err)
			}
		}
		file := filepath.Join(dir, "accounts.jsonl")
		if out := succeed(t, dir, "export", file, flag); !strings.Contains(out, "1001 accounts") || !strings.Contains(out, "password hashes") {
			t.Error(out)
		}
		info, err := os.Stat(file)
		if err != nil || info.Mode() != 0o600 {
			t.Errorf("%v, %v, want mode 0600", info, err)
		}
		fails(t, dir, []string{"export", file, flag}, "already exists")
		cmd := authd(dir, "export", flag)
		stdout, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(file)
		if err != nil || string(text) != string(stdout) {
			t.Errorf("the file and stdout differ; %v", err)
		}
		var got []exported
		for lines := bufio.NewScanner(strings.NewReader(string(stdout))); lines.Scan(); {
			var e exported
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				t.Fatal(err)
			}
			got = append(got, e)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%d accounts, want %d; the first is %+v", len(got), len(want), got[0])
		}
		if out, err := authd(dir, "export", "--no-passwords", flag).CombinedOutput(); err != nil || strings.Contains(string(out), "canary") || strings.Contains(string(out), "password") {
			t.Errorf("%v: hashes without being asked for", err)
		}
	})
}

// The procedure of docs/operations.md for PostgreSQL.
func TestPostgresBackupWithItsOwnTools(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"pg_dump", "pg_restore"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%v: install PostgreSQL's client programs", err)
		}
	}
	from, to, dump := dbtest.Postgres(t), dbtest.Postgres(t), filepath.Join(t.TempDir(), "authd.dump")
	dir, key := t.TempDir(), "--token.master_key="+newMasterKey()
	n := start(t, dir, "--database.url="+from, key)
	n.post("/v1/users", "", ada)
	token := n.login(ada)
	for _, cmd := range []*exec.Cmd{
		exec.Command("pg_dump", "--format=custom", "--file="+dump, from),
		exec.Command("pg_restore", "--exit-on-error", "--no-owner", "--dbname="+to, dump),
	} {
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
		}
	}
	flag := "--database.url=" + to
	fails(t, dir, []string{"key", "revoke", flag}, "another master key")
	succeed(t, dir, "key", "revoke", flag, key)
	restored := start(t, dir, flag, key)
	if restored.accepts(token) || !restored.accepts(restored.login(ada)) {
		t.Error("the tokens are not as they should be")
	}
}
