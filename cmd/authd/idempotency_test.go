package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chassi-go/chassi/auth"
	"github.com/chassi-go/chassi/auth/store"
	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/internal/dbtest"
	"github.com/chassi-go/chassi/internal/redistest"
	"github.com/chassi-go/chassi/password"
	"github.com/chassi-go/chassi/standard"
)

// keyed is the response to a call with a key.
type keyed struct {
	status   int
	replayed bool
	body     string
}

// withKey sends a body as POST with an Idempotency-Key.
func (n *node) withKey(path, key string, body object) (keyed, error) {
	data, err := json.Marshal(body)
	if err != nil {
		return keyed{}, err
	}
	request, err := http.NewRequest(http.MethodPost, n.http+path, bytes.NewReader(data))
	if err != nil {
		return keyed{}, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Idempotency-Key", key)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return keyed{}, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	checkResponse(n.t, http.MethodPost, path, response, text)
	return keyed{response.StatusCode, response.Header.Get("Idempotency-Replayed") == "true", string(text)}, err
}

func (n *node) wantKeyed(path, key string, body object, status int, replayed bool, text string) string {
	n.t.Helper()
	got, err := n.withKey(path, key, body)
	if err != nil || got.status != status || got.replayed != replayed || !strings.Contains(got.body, text) {
		n.t.Errorf("%s with key %s: %+v, %v, want %d, replayed %t, %s", path, key, got, err, status, replayed, text)
	}
	return got.body
}

// metric returns the value of a line of /metrics, "" for none.
func (n *node) metric(line string) string {
	n.t.Helper()
	response, err := http.Get(n.admin + "/metrics")
	if err != nil {
		n.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		n.t.Fatal(err)
	}
	for l := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(l, line+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

const someKey = `"8e03978e-40d5-43dd-bc93-6894a57f9324"`

func TestSignUpWithAKey(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		signUpWithAKey(t, "--database.url="+url)
	})
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		c, _ := redistest.Config(t)
		signUpWithAKey(t, "--database.url="+dbtest.SQLite(t), "--redis.url="+c.URL, "--redis.prefix="+c.Prefix, "--redis.timeout=5s", "--idempotency.store=redis")
	})
}

func signUpWithAKey(t *testing.T, args ...string) {
	args = append(args, fmt.Sprintf("--token.master_key=%x", sha256.Sum256([]byte(t.Name()))))
	n := start(t, t.TempDir(), args...)
	first := n.wantKeyed("/v1/users", someKey, ada, http.StatusAccepted, false, "ada@example.org")
	if again := n.wantKeyed("/v1/users", someKey, ada, http.StatusAccepted, true, ""); again != first {
		t.Errorf("%s, and again %s", first, again)
	}
	n.wantKeyed("/v1/users", strings.Trim(someKey, `"`), ada, http.StatusAccepted, true, "ada@example.org")
	for _, other := range []object{{"email": "ada@example.org", "password": "a difference engine"}, {"email": "eve@example.org", "password": ada["password"]}} {
		n.wantKeyed("/v1/users", someKey, other, http.StatusBadRequest, false, "idempotency_key_reused")
	}
	n.wantKeyed("/v1/users", `"open`, ada, http.StatusBadRequest, false, `"field":"Idempotency-Key"`)

	// A refusal leaves the key free.
	const second = "0b4b6a0e-6a3c-4c0f-8a55-bd1e0b7f8f10"
	n.wantKeyed("/v1/users", second, object{"email": "eve@example.org", "password": "short"}, http.StatusBadRequest, false, "weak_password")
	n.wantKeyed("/v1/users", second, object{"email": "eve@example.org", "password": "another engine"}, http.StatusAccepted, false, "eve@example.org")

	// A login is never stored.
	for range 2 {
		n.wantKeyed("/v1/auth", someKey, ada, http.StatusOK, false, "token")
	}
	if got := n.metric(`authd_events_total{event="sign_up"}`); got != "2" {
		t.Errorf("%s sign-ups, want 2", got)
	}
	if code := n.stop(syscall.SIGTERM); code != standard.ExitOK {
		t.Errorf("exit code %d", code)
	}
	n = start(t, t.TempDir(), args...)
	n.wantKeyed("/v1/users", someKey, ada, http.StatusAccepted, true, "ada@example.org")
	if got := n.metric(`authd_events_total{event="sign_up"}`); got != "" {
		t.Errorf("%s sign-ups after the restart, want none", got)
	}
	if got := n.metric(`authd_idempotency_total{event="replayed"}`); got != "1" {
		t.Errorf("%s replayed after the restart, want 1", got)
	}
}

// Where sign-up is switched off a key changes nothing, and nothing is spent on it.
func TestSignUpWithAKeyWhereItIsSwitchedOff(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir(), "--sign_up=false")
	before := n.metric(`workpool_completed_total{pool="hashing"}`)
	for _, body := range []object{ada, {"email": "no address", "password": "short"}} {
		n.wantKeyed("/v1/users", someKey, body, http.StatusForbidden, false, "sign_up_disabled")
	}
	if after := n.metric(`workpool_completed_total{pool="hashing"}`); before == "" || after != before {
		t.Errorf("%q hashes, afterwards %q", before, after)
	}
}

// Fifty at once on two nodes: one is carried out, and the others are refused for now
// or get its response.
func TestParallelSignUpsWithOneKey(t *testing.T) {
	t.Parallel()
	nodes := pair(t, "--hash.max_queued=100") // all callers are one network, which gets half of it
	var all sync.WaitGroup
	var mu sync.Mutex
	kinds := make(map[string]int)
	const calls = 20
	for i := range calls {
		all.Go(func() {
			got, err := nodes[i%2].withKey("/v1/users", someKey, ada)
			kind := fmt.Sprint(got.status, " replayed ", got.replayed)
			if err != nil || got.status == http.StatusConflict && !strings.Contains(got.body, "idempotency_conflict") ||
				got.status == http.StatusAccepted && !strings.Contains(got.body, "ada@example.org") {
				t.Errorf("%+v, %v", got, err)
			}
			mu.Lock()
			defer mu.Unlock()
			kinds[kind]++
		})
	}
	all.Wait()
	if kinds["202 replayed false"] != 1 || kinds["202 replayed false"]+kinds["202 replayed true"]+kinds["409 replayed false"] != calls {
		t.Errorf("responses %v", kinds)
	}
	signUps := nodes[0].metric(`authd_events_total{event="sign_up"}`) + nodes[1].metric(`authd_events_total{event="sign_up"}`)
	if signUps != "1" {
		t.Errorf("carried out %q times", signUps)
	}
	t.Logf("%v", kinds)
}

// While the store is unavailable, calls with a key are rejected and others are not.
func TestSignUpWithAKeyWithoutRedis(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir(), "--redis.url=redis://127.0.0.1:1", "--idempotency.store=redis")
	n.wantKeyed("/v1/users", someKey, ada, http.StatusServiceUnavailable, false, "idempotency_unavailable")
	if status, response := n.post("/v1/users", "", ada); status != http.StatusAccepted {
		t.Errorf("without a key: %d %v", status, response)
	}
}

// Keys that have expired by the database's clock are deleted.
func TestDeleteKeys(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		db, err := database.Open(t.Context(), database.Config{URL: url})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.Migrate(t.Context(), store.Migrations()); err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		for id, ended := range map[string]time.Time{"long ago": now.Add(-2 * time.Minute), "just now": now.Add(-30 * time.Second), "not yet": now.Add(time.Hour)} {
			if _, err := db.Exec(t.Context(), "INSERT INTO idempotency_keys (id, fingerprint, token, finished, expires_at) VALUES ($1, $2, '', TRUE, $3)", id, []byte("f"), ended.UnixMicro()); err != nil {
				t.Fatal(err)
			}
		}
		if err := deleteKeys(db)(t.Context()); err != nil {
			t.Fatal(err)
		}
		var left, old int
		if err := db.QueryRow(t.Context(), "SELECT count(*), count(CASE WHEN id <> 'not yet' THEN 1 END) FROM idempotency_keys").Scan(&left, &old); err != nil || left != 1 || old != 0 {
			t.Errorf("%d left, %d of them old, %v", left, old, err)
		}
	})
}

// R79: whoever has the database, and guesses the key of a sign-up, cannot guess at its
// password faster than at the account's own hash. With a master key the secret is no use.
func TestAStoredSignUpIsAsDearToGuessAtAsItsAccount(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{"plain": nil, "sealed": {fmt.Sprintf("--token.master_key=%x", sha256.Sum256([]byte("a master key")))}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := dbtest.SQLite(t)
			n := start(t, t.TempDir(), append(args, "--database.url="+url)...)
			n.wantKeyed("/v1/users", "1", ada, http.StatusAccepted, false, "ada@example.org")
			stolen := steal(t, url)
			if stolen.sealed != (name == "sealed") {
				t.Errorf("the root secret is sealed: %t", stolen.sealed)
			}
			request, err := json.Marshal(auth.SignUpRequest{Email: ada["email"].(string), Password: ada["password"].(string)})
			if err != nil {
				t.Fatal(err)
			}
			for what, secret := range map[string][]byte{"no secret": nil, "the root secret": stolen.root, "its derivation": macOf(stolen.root, "idempotency")} {
				if bytes.Equal(stolen.fingerprint, listMac(secret, "request", string(request))) {
					t.Errorf("%s: a right guess is recognized without any work", what)
				}
			}
			// With the work it is: the digests above are made as the service makes them.
			secret := macOf(stolen.root, "idempotency")
			stretched, err := password.Stretch(password.Params{Memory: 7168, Time: 1, Parallelism: 1, SaltLen: 16, KeyLen: 32}, listMac(secret, "salt")[:16], request)
			if err != nil {
				t.Fatal(err)
			}
			if found := bytes.Equal(stolen.fingerprint, listMac(secret, "request", string(stretched))); found != !stolen.sealed {
				t.Errorf("recognized after the work: %t, sealed: %t", found, stolen.sealed)
			}
		})
	}
}

type stolen struct {
	root, fingerprint []byte
	sealed            bool
}

func steal(t *testing.T, url string) (s stolen) {
	t.Helper()
	db, err := database.Open(t.Context(), database.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow(t.Context(), "SELECT value, sealed FROM secrets WHERE name = 'root'").Scan(&s.root, &s.sealed); err != nil {
		t.Fatal(err)
	}
	if err := db.QueryRow(t.Context(), "SELECT fingerprint FROM idempotency_keys").Scan(&s.fingerprint); err != nil {
		t.Fatal(err)
	}
	return s
}

func macOf(secret []byte, text string) []byte {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

// listMac is the digest of a list that begins with whose key "1" is.
func listMac(secret []byte, kind string, more ...string) []byte {
	mac := hmac.New(sha256.New, secret)
	for _, part := range append([]string{kind, "auth.v1.Auth/SignUp", "", "", "1"}, more...) {
		mac.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		mac.Write([]byte(part))
	}
	return mac.Sum(nil)
}

// A key that was used before there was a master key is known with it, and on every node.
func TestKeysAreKnownAfterAMasterKeyIsGiven(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		first := start(t, t.TempDir(), "--database.url="+url)
		first.wantKeyed("/v1/users", someKey, ada, http.StatusAccepted, false, "ada@example.org")
		flags := []string{"--database.url=" + url, fmt.Sprintf("--token.master_key=%x", sha256.Sum256([]byte("a master key")))}
		sealing := start(t, t.TempDir(), flags...)
		succeed(t, t.TempDir(), append([]string{"key", "rewrap"}, flags...)...)
		for _, n := range []*node{first, sealing} {
			n.wantKeyed("/v1/users", someKey, ada, http.StatusAccepted, true, "ada@example.org")
		}
		if !steal(t, url).sealed {
			t.Error("the root secret is not sealed")
		}
	})
}
