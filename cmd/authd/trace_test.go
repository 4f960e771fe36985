package main

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chassi-go/chassi/internal/dbtest"
	"github.com/chassi-go/chassi/internal/proxytest"
	"github.com/chassi-go/chassi/internal/redistest"
	"github.com/chassi-go/chassi/standard"
)

// exportedSpan is what the exporter stdout writes of a span.
type exportedSpan struct {
	Name        string
	SpanContext struct{ TraceID, SpanID string }
	Parent      struct{ SpanID string }
	SpanKind    int
	StartTime   time.Time
	Attributes  []struct {
		Key   string
		Value struct{ Value any }
	}
	Status struct{ Code string }
}

func (s exportedSpan) get(key string) (value string) {
	for _, a := range s.Attributes {
		if a.Key == key {
			value, _ = a.Value.Value.(string)
		}
	}
	return value
}

func (s exportedSpan) isError() bool { return s.Status.Code == "Error" }

// loginSpans signs an account up and logs it in at a node with tracing, and returns the spans
// of the login by their start: that of the call first.
func loginSpans(t *testing.T, url string, args ...string) []exportedSpan {
	t.Helper()
	const secret = "unsaid-Secret phrase"
	email := "canary." + rand.Text() + "@example.org" // an account that has not logged in yet
	var out bytes.Buffer
	cmd := authd(t.TempDir(), slices.Concat([]string{
		"serve", "--http.addr=127.0.0.1:0", "--admin.addr=127.0.0.1:0", "--grpc.addr=off", "--trace.exporter=stdout", "--trace.ratio=1",
		"--database.url=" + url, "--argon2.memory_kib=7168", "--argon2.time=1",
	}, args)...)
	cmd.Stdout = &out
	n := launchProgram(t, cmd)
	n.awaitLog(`"msg":"serving"`)
	credentials := object{"email": email, "password": secret}
	if status, response := n.post("/v1/users", "", credentials); status != http.StatusAccepted {
		t.Fatalf("sign-up: %d %v", status, response)
	}
	if status, response := n.post("/v1/auth", "", credentials); status != http.StatusOK {
		t.Fatalf("login: %d %v", status, response)
	}
	if code := n.stop(syscall.SIGTERM); code != standard.ExitOK {
		t.Fatalf("exit code %d", code)
	}
	for _, canary := range []string{"unsaid", "Secret phrase", "canary", "example.org", "argon2"} {
		if strings.Contains(out.String(), canary) {
			t.Errorf("a span holds %q", canary)
		}
	}
	var spans []exportedSpan
	trace := ""
	for lines := json.NewDecoder(&out); ; {
		var s exportedSpan
		if err := lines.Decode(&s); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		spans = append(spans, s)
		if s.Name == "POST /v1/auth" {
			trace = s.SpanContext.TraceID
		}
	}
	spans = slices.DeleteFunc(spans, func(s exportedSpan) bool { return s.SpanContext.TraceID != trace })
	slices.SortStableFunc(spans, func(a, b exportedSpan) int { return a.StartTime.Compare(b.StartTime) })
	if len(spans) == 0 || spans[0].Name != "POST /v1/auth" {
		t.Fatalf("%d spans of the login", len(spans))
	}
	for _, s := range spans[1:] {
		if s.Parent.SpanID != spans[0].SpanContext.SpanID {
			t.Errorf("%s is no child of the call", s.Name)
		}
	}
	return spans
}

func texts(spans []exportedSpan) []string {
	list := make([]string, 0, len(spans))
	for _, s := range spans {
		list = append(list, strings.TrimSpace(s.get("db.system.name")+" "+s.Name))
	}
	return list
}

// R102: a login shows what it waits for: each statement, each command of Redis, the queue of
// the hashes and the hash.
func TestSpansOfALogin(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		system, _, _ := strings.Cut(url, ":")
		system = strings.Replace(system, "postgres", "postgresql", 1)
		hash := []string{"queue hashing", "run hashing"}
		before := []string{"POST /v1/auth", system + " SELECT users"}
		reserved := []string{system + " BEGIN", system + " SELECT locked", system + " INSERT attempts", system + " COMMIT"}
		settled := []string{system + " UPDATE attempts", system + " DELETE attempts", system + " DELETE attempts"}
		remembered := []string{system + " INSERT networks", system + " DELETE networks"}
		begin, commit := []string{system + " BEGIN"}, []string{system + " COMMIT"}
		rememberedOnly := slices.Concat(begin, remembered, commit)
		settled = slices.Concat(begin, settled, remembered, commit)
		if system == "postgresql" { // each transaction is one message
			reserved, settled, rememberedOnly = []string{system + " BATCH"}, []string{system + " BATCH"}, []string{system + " BATCH networks"}
		}

		want := slices.Concat(before, reserved, hash, settled)
		spans := loginSpans(t, url)
		if diff := cmp.Diff(want, texts(spans)); diff != "" || slices.ContainsFunc(spans, exportedSpan.isError) {
			t.Errorf("%v: %s", spans, diff)
		}

		c, addr := redistest.Config(t)
		limit := []string{"redis EVALSHA take_token"}
		want = slices.Concat(before[:1], limit, before[1:], []string{"redis EVALSHA count_attempt"}, hash, []string{"redis EVALSHA settle_attempt"}, rememberedOnly)
		spans = loginSpans(t, url, "--redis.url="+c.URL, "--redis.prefix="+c.Prefix, "--redis.timeout=10s")
		if diff := cmp.Diff(want, texts(spans)); diff != "" || slices.ContainsFunc(spans, exportedSpan.isError) {
			t.Errorf("with Redis: %v: %s", spans, diff)
		}

		away := proxytest.New(t, addr) // refuses connections
		want = slices.Concat(before[:1], limit, before[1:], []string{"redis EVALSHA count_attempt"}, reserved, hash,
			[]string{"redis EVALSHA settle_attempt"}, settled)
		spans = loginSpans(t, url, "--redis.url=redis://"+away.Addr)
		if diff := cmp.Diff(want, texts(spans)); diff != "" {
			t.Errorf("without Redis: %v: %s", spans, diff)
		}
		for _, s := range spans {
			if down := s.get("db.system.name") == "redis"; s.isError() != down || down && s.get("error.type") != "unavailable" && s.get("error.type") != "breaker_open" {
				t.Errorf("without Redis: %s has the status %q, error.type %q", s.Name, s.Status.Code, s.get("error.type"))
			}
		}
	})
}
