package main

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/chassi-go/chassi/auth"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/internal/dbtest"
	"github.com/chassi-go/chassi/internal/proxytest"
	"github.com/chassi-go/chassi/internal/redistest"
	"github.com/chassi-go/chassi/standard"
	"github.com/chassi-go/chassi/transport/amqpapi"
	"github.com/chassi-go/chassi/transport/natsapi"
)

// ends waits until a program ends by itself and returns its exit code and how it says why.
func ends(t *testing.T, cmd *exec.Cmd) (code int, reason string) {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err == nil {
		return 0, ""
	}
	_, reason, _ = strings.Cut("\n"+string(out), "\nauthd: ")
	return cmd.ProcessState.ExitCode(), reason
}

// wantReady waits for a response of readiness with the status and all texts.
func (n *node) wantReady(status int, texts ...string) {
	n.t.Helper()
	var response string
	eventually(n.t, "readiness: "+strings.Join(texts, ", "), func() bool {
		if n.get("/readyz") != status {
			return false
		}
		response = n.ask("/readyz")
		for _, text := range texts {
			if !strings.Contains(response, text) {
				return false
			}
		}
		return true
	})
	if strings.Contains(response, "canary") {
		n.t.Errorf("a secret is in %s", response)
	}
}

// R91: while PostgreSQL is unavailable, hangs or refuses us, authd is alive, not ready, and tells
// why. It serves within seconds of its coming, and is ended by a signal at any time.
func TestDatabaseThatCannotBeUsedAtTheStart(t *testing.T) {
	t.Parallel()
	p, direct := behindProxy(t)
	with := func(change func(u *url.URL)) string {
		u, err := url.Parse(direct)
		if err != nil {
			t.Fatal(err)
		}
		change(u)
		return "--database.url=" + u.String()
	}
	n := launch(t, t.TempDir(), with(func(*url.URL) {}), "--nats.url=off", "--log.level=info")
	n.awaitLog(`"component":"database"`)
	n.wantReady(http.StatusServiceUnavailable, `"status":"starting"`, `"database":{"status":"starting","error":"`, "connection refused")
	if got := n.get("/healthz"); got != http.StatusOK {
		t.Errorf("liveness: %d", got)
	}
	// One cause, one alert: what waits for the database is not reported as down, nor are
	// signing keys that were never read.
	if text := n.metrics(); !strings.Contains(text, `component_up{component="database",required="true"} 0`) ||
		strings.Contains(text, `component="http"`) || strings.Contains(text, `component="keys"`) || strings.Contains(text, "authd_signing_keys{") {
		t.Errorf("metrics without the database:\n%s", text)
	}
	p.Open()
	p.Stall()
	n.wantReady(http.StatusServiceUnavailable, `"database":{"status":"starting","error":"`, "timeout")
	p.Resume()
	n.awaitLog(`"msg":"serving"`)
	n.wantReady(http.StatusOK, `"database":{"status":"ok"`)
	log := n.text()
	if strings.Count(log, `"msg":"component does not work"`) != 1 || strings.Count(log, `"msg":"component works again"`) != 1 {
		t.Errorf("want one line each about the beginning and the end:\n%s", log)
	}

	missing := launch(t, t.TempDir(), with(func(u *url.URL) { u.Path = "/nowhere" }), "--nats.url=off")
	missing.wantReady(http.StatusServiceUnavailable, `"database":{"status":"starting"`, `database \"nowhere\" does not exist`)
	if code := missing.stop(syscall.SIGTERM); code != standard.ExitOK {
		t.Errorf("stopped while waiting: exit code %d", code)
	}
	if code := n.stop(syscall.SIGTERM); code != standard.ExitOK {
		t.Errorf("exit code %d", code)
	}
}

// A bound on the start tells the reason, and not only that the time was over. What is wrong
// here cannot heal elsewhere and needs no bound.
func TestFailedStartLogsTheReason(t *testing.T) {
	t.Parallel()
	away := freeAddr(t)
	dir := t.TempDir()
	for want, args := range map[string][]string{
		"not started within 2s: start database: ":   {"--start.timeout=2s", "--database.url=postgres://me:canary@" + away + "/db"},
		"connect: connection refused":               {"--start.timeout=2s", "--database.url=postgres://me:canary@" + away + "/x"},
		"start nats: ":                              {"--start.timeout=2s", "--nats.required=true", "--nats.url=nats://me:canary@" + away},
		"start amqp: ":                              {"--start.timeout=2s", "--amqp.required=true", "--amqp.url=amqp://me:canary@" + away},
		"database.url is malformed":                 {"--database.url=postgres://me:can%ary@" + away + "/db"},
		"directory nowhere does not exist":          {"--database.url=sqlite:nowhere/authd.db"},
		`nats.ca_file ("/nowhere")`:                 {"--nats.url=tls://" + away, "--nats.ca_file=/nowhere"},
		`amqp.ca_file ("/nowhere")`:                 {"--amqp.url=amqps://me:canary@" + away, "--amqp.ca_file=/nowhere"},
		`nats.url ("***") must be nats://HOST:PORT`: {"--nats.url=nats://me:canary@host:x"},
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			all := append([]string{"serve", "--http.addr=127.0.0.1:0", "--admin.addr=127.0.0.1:0", "--grpc.addr=127.0.0.1:0"}, append(args, cheap...)...)
			code, reason := ends(t, authd(dir, all...))
			if code != standard.ExitFailed && code != standard.ExitUsage || !strings.Contains(reason, want) || strings.Contains(reason, "canary") || strings.Contains(reason, "deadline") {
				t.Errorf("exit code %d: %s", code, reason)
			}
		})
	}
}

// A node of the version before serves on a schema that the next version has migrated: so it is
// while that is rolled out, and after it was rolled back.
func TestNewerSchema(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		succeed(t, t.TempDir(), "migrate", "--database.url="+url)
		addMigration(t, url)
		n := start(t, t.TempDir(), "--database.url="+url)
		n.awaitLog("the schema is newer than this program")
		if status, _ := n.post("/v1/users", "", object{"email": "me@example.org", "password": "unsaid-Secret phrase"}); status != http.StatusAccepted {
			t.Errorf("sign-up: %d", status)
		}
	})
}

// addMigration marks an unknown migration as applied.
func addMigration(t *testing.T, url string) {
	t.Helper()
	db, err := database.Open(t.Context(), database.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(t.Context(), "INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, TRUE)"); err != nil {
		t.Fatal(err)
	}
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// R90: brokers that are unavailable at the start leave HTTP serving and authd ready, unless they
// are required; when they come, calls over them work.
func TestBrokersUnavailableAtStart(t *testing.T) {
	t.Parallel()
	rabbitURL, prefix := rabbit(t)
	u, err := url.Parse(rabbitURL)
	if err != nil {
		t.Fatal(err)
	}
	amqp := proxytest.New(t, u.Host)
	u.Host = amqp.Addr
	natsAddr := freeAddr(t)
	natsURL := "nats://me:canary@" + natsAddr
	brokers := []string{"--nats.url=" + natsURL, "--amqp.url=" + u.String(), "--amqp.prefix=" + prefix}

	n := start(t, t.TempDir(), append(brokers, "--nats.required=false", "--amqp.required=false", "--start.timeout=1m")...)
	n.wantReady(http.StatusOK, `"status":"serving"`, `"nats":{"status":"degraded","error":"`, `"amqp":{"status":"degraded","error":"`, "connection refused")
	n.post("/v1/users", "", ada)
	token := n.login(ada)
	if !n.accepts(token) {
		t.Error("no good token over HTTP")
	}
	required := launch(t, t.TempDir(), append(brokers, "--nats.required=true")...)
	required.awaitLog(`"server":"http"`)
	required.wantReady(http.StatusServiceUnavailable, `"status":"starting"`, `"nats":{"status":"starting","error":"`, "connection refused")
	required.post("/v1/users", "", ada)
	if !required.accepts(required.login(ada)) {
		t.Error("no good token over HTTP while a required broker is away")
	}

	broker := natsServer(t, natsAddr, "another")
	n.wantReady(http.StatusOK, `"nats":{"status":"degraded","error":"`, "Authorization Violation")
	required.wantReady(http.StatusServiceUnavailable, "Authorization Violation")
	broker.Shutdown()
	broker.WaitForShutdown()
	broker = natsServer(t, natsAddr, "canary")
	t.Cleanup(broker.Shutdown)
	amqp.Open()
	n.wantReady(http.StatusOK, `"nats":{"status":"ok"`, `"amqp":{"status":"ok"`)
	required.wantReady(http.StatusOK, `"nats":{"status":"ok"`)

	overNATS, err := natsapi.Dial(t.Context(), natsapi.ClientConfig{URL: natsURL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(overNATS.Close)
	overAMQP, err := amqpapi.Dial(t.Context(), amqpapi.ClientConfig{URL: rabbitURL, Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(overAMQP.Close)
	required.stop(syscall.SIGTERM) // whose accounts are others
	for name, caller := range map[string]client.Caller{"nats": overNATS, "amqp": overAMQP} {
		service, err := auth.NewClient(caller)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		if response, err := service.ValidateToken(ctx, &auth.ValidateTokenRequest{Token: token}); err != nil || response.Email != "ada@example.org" {
			t.Errorf("over %s: %+v, %v", name, response, err)
		}
		cancel()
	}

	broker.Shutdown()
	broker.WaitForShutdown()
	amqp.Cut()
	n.wantReady(http.StatusOK, `"nats":{"status":"degraded"`, `"amqp":{"status":"degraded"`, "connection refused")
	if code := n.stop(syscall.SIGTERM); code != standard.ExitOK {
		t.Errorf("stopped without brokers: exit code %d\n%s", code, n.text())
	}
	log := n.text()
	for _, component := range []string{"nats", "amqp"} {
		if got := strings.Count(log, `"level":"WARN","msg":"component does not work"`); got == 0 || !strings.Contains(log, `"component":"`+component+`"`) {
			t.Errorf("no WARN about %s:\n%s", component, log)
		}
	}
}

func natsServer(t *testing.T, addr, password string) *server.Server {
	t.Helper()
	tcp, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: tcp.Port, NoSigs: true, NoLog: true, Username: "me", Password: password})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(30 * time.Second) {
		t.Fatal("the NATS server does not get ready")
	}
	return s
}

// Redis is optional, too: without it the status is degraded, which is logged once, and it recovers.
func TestRedisUnavailableAtStart(t *testing.T) {
	t.Parallel()
	_, addr := redistest.Config(t)
	p := proxytest.New(t, addr)
	n := start(t, t.TempDir(), "--redis.url=redis://"+p.Addr, "--nats.url=off", "--log.level=info")
	n.wantReady(http.StatusOK, `"redis":{"status":"degraded","error":"redis is not available: `, "connection refused")
	n.awaitLog(`"level":"WARN","msg":"redis is unavailable: continuing without it"`)
	n.post("/v1/users", "", ada)
	if !n.accepts(n.login(ada)) {
		t.Error("no good token without Redis")
	}
	p.Open()
	n.wantReady(http.StatusOK, `"redis":{"status":"ok"`)
	n.awaitLog(`"level":"INFO","msg":"redis is used again"`)
	if log := n.text(); strings.Count(log, "redis is unavailable") != 1 || strings.Contains(log, `"component":"redis"`) {
		t.Errorf("want one line at each end:\n%s", log)
	}
}
