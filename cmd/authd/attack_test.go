package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chassi-go/chassi/auth"
	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/internal/dbtest"
)

// forge signs nothing: header and payload as given, and any signature.
func forge(header, payload, signature string) string {
	b64 := base64.RawURLEncoding.EncodeToString
	return b64([]byte(header)) + "." + b64([]byte(payload)) + "." + signature
}

// T01 to T12 from outside: every bad token is the same 401 on both ways in, in
// the body and as bearer; nothing of it gets into the log, and the log stays one
// JSON object a line.
func TestT01ToT12BadTokensOverHTTP(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir(), "--log.level=debug")
	n.post("/v1/users", "", ada)
	good := n.login(ada)
	parts := strings.Split(good, ".")
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	header, err := base64.RawURLEncoding.DecodeString(parts[0])
	if err != nil {
		t.Fatal(err)
	}
	_, kid, _ := strings.Cut(string(header), `"kid"`)
	kid = `"kid"` + kid
	const canary = "cAnArYsIgNaTuRe"
	bad := map[string]string{
		"T01 none":             forge(`{"alg":"none"}`, string(payload), ""),
		"T01 None with kid":    forge(`{"alg":"None",`+kid, string(payload), canary),
		"T01 no signature":     parts[0] + "." + parts[1] + ".",
		"T02 HS256":            forge(`{"alg":"HS256",`+kid, string(payload), canary),
		"T03 ES256":            forge(`{"alg":"ES256",`+kid, string(payload), canary),
		"T04 jwk":              forge(`{"alg":"EdDSA","jwk":{"kty":"OKP","crv":"Ed25519","x":"AA"}}`, string(payload), canary),
		"T04 jku":              forge(`{"alg":"EdDSA","jku":"http://127.0.0.1:1/"}`, string(payload), canary),
		"T05 path":             forge(`{"alg":"EdDSA","kid":"../../dev/null"}`, string(payload), canary),
		"T05 SQL":              forge(`{"alg":"EdDSA","kid":"' OR 1=1 --"}`, string(payload), canary),
		"T05 control":          forge(`{"alg":"EdDSA","kid":"a\r\n{\"level\":\"ERROR\",\"msg\":\"injected\"}\u0000"}`, string(payload), canary),
		"T05 10 kB":            forge(`{"alg":"EdDSA","kid":"`+strings.Repeat("k", 10<<10)+`"}`, string(payload), canary),
		"T07 crit":             forge(`{"alg":"EdDSA","crit":["b64"],"b64":false,`+kid, string(payload), parts[2]),
		"T07 duplicate member": forge(`{"alg":"none",`+string(header[1:]), string(payload), parts[2]),
		"T11 dots":             strings.Repeat(".", 1<<16),
		"T11 64 kB":            good + strings.Repeat("A", 64<<10),
		"T11 JWE":              good + ".." + canary,
		"T11 deep":             forge(strings.Repeat(`{"a":`, 2000), string(payload), canary),
		"T12 padding":          good + "=",
		"T12 space":            good + " ",
		"T12 newline":          good[:len(good)-10] + "\n" + good[len(good)-10:],
		"T12 last char":        good[:len(good)-1] + string(good[len(good)-1]^1),
		"garbage":              canary,
	}
	var first string
	for name, raw := range bad {
		status, response := n.post("/v1/validate-token", "", object{"token": raw})
		delete(response, "instance")
		if text := fmt.Sprint(status, response); first == "" {
			first = text
		} else if text != first {
			t.Errorf("%s: %s, want the same as any other: %s", name, text, first)
		}
		if status != http.StatusUnauthorized || response["message"] != "Invalid token" {
			t.Errorf("%s: %d %v", name, status, response)
		}
		if strings.ContainsAny(raw, "\n ") || len(raw) > 8<<10 {
			continue // a header cannot hold it, or loses the space
		}
		if status, response, err := n.try(http.MethodGet, "/v1/me", raw, nil); status != http.StatusUnauthorized || err != nil {
			t.Errorf("%s as bearer: %d %v %v", name, status, response, err)
		}
	}
	if status, response := n.post("/v1/validate-token", "", object{"token": strings.Repeat(".", 1<<20)}); status != http.StatusRequestEntityTooLarge {
		t.Errorf("1 MB of dots: %d %v", status, response)
	}
	if !n.accepts(good) {
		t.Error("the good token is refused after all that")
	}
	n.awaitLog(`"status":413`)
	for line := range strings.Lines(n.text()) {
		if !json.Valid([]byte(line)) || strings.Contains(line, canary) || strings.Contains(line, parts[2]) || strings.Contains(line, `"msg":"injected"`) {
			t.Errorf("log: %s", line)
		}
	}
}

// T52, fault 50: SQL in any field is data.
func TestT52SQLIsData(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	n.post("/v1/users", "", ada)
	for _, text := range []string{"' OR '1'='1", "ada@example.org' --", `"; DROP TABLE users; --`, "ada@example.org\x00", "%"} {
		for _, body := range []object{{"email": text, "password": ada["password"]}, {"email": "ada@example.org", "password": text}, {"email": text + "@example.org", "password": text}} {
			if status, response := n.post("/v1/auth", "", body); status != http.StatusNotFound && status != http.StatusBadRequest {
				t.Errorf("%v: %d %v", body, status, response)
			}
		}
	}
	n.awaitLog(`"route":"/v1/auth"`)
	if strings.Contains(n.text(), `"level":"ERROR"`) {
		t.Errorf("a fault:\n%s", n.text())
	}
}

// R80: over every transport a guess counts once its hash has begun, whether the caller's
// time runs out or the caller goes away.
func TestGuessesCountHoweverTheCallerEnds(t *testing.T) {
	t.Parallel()
	rabbitURL, prefix := rabbit(t)
	url := dbtest.SQLite(t)
	n := start(t, t.TempDir(), "--database.url="+url, "--amqp.url="+rabbitURL, "--amqp.prefix="+prefix, "--argon2.memory_kib=131072", "--argon2.time=3")
	db, err := database.Open(t.Context(), database.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	number := func(metric string) int {
		t.Helper()
		value, err := strconv.Atoi("0" + n.metric(metric))
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
	evaluated := func() int { return number(`authd_events_total{event="login_failed"}`) }
	const patience = 150 * time.Millisecond // less than such a hash takes
	ends := map[string]func() (context.Context, context.CancelFunc){
		"deadline": func() (context.Context, context.CancelFunc) { return context.WithTimeout(t.Context(), patience) },
		"goes away": func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(t.Context())
			timer := time.AfterFunc(patience, cancel)
			return ctx, func() { timer.Stop(); cancel() }
		},
	}
	guesses := 0
	for transport, caller := range callers(t, n, rabbitURL, prefix) {
		service, err := auth.NewClient(caller)
		if err != nil {
			t.Fatal(err)
		}
		for end, begin := range ends {
			address := strings.ReplaceAll(transport+"."+end, " ", ".") + "@example.org"
			guesses++
			for i := 0; evaluated() < guesses && i < 20; i++ { // some end before their hash begins
				ctx, cancel := begin()
				if _, err := service.Authenticate(ctx, &auth.AuthenticateRequest{Email: address, Password: fmt.Sprint("a wrong guess ", i)}); err == nil {
					t.Error("a wrong guess was right")
				}
				cancel()
				eventually(t, "the hash ends", func() bool { return number(`workpool_busy{pool="hashing"}`) == 0 })
			}
			counted := 0
			eventually(t, "those that did not begin are taken back", func() bool {
				if err := db.QueryRow(t.Context(), "SELECT COALESCE(sum(failures), 0) FROM attempts WHERE bucket LIKE 'pair:%'").Scan(&counted); err != nil {
					t.Fatal(err)
				}
				return counted == evaluated()
			})
			if counted < guesses {
				t.Errorf("%s, %s: %d of %d guesses are counted", transport, end, counted, guesses)
				guesses = counted
			}
		}
	}
}
