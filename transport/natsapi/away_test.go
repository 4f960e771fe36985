package natsapi_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/internal/proxytest"
	"github.com/chassi-go/chassi/internal/worktest"
	"github.com/chassi-go/chassi/transport/natsapi"
)

// privateServer starts a NATS server of the test's own, which lets one user in.
func privateServer(t *testing.T, addr *net.TCPAddr, user, password string) *server.Server {
	t.Helper()
	n, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: addr.Port, NoSigs: true, NoLog: true, Username: user, Password: password})
	if err != nil {
		t.Fatal(err)
	}
	n.Start()
	if !n.ReadyForConnections(30 * time.Second) {
		t.Fatal("the NATS server does not get ready")
	}
	return n
}

func end(n *server.Server) {
	n.Shutdown()
	n.WaitForShutdown()
}

func wantUnavailable(t *testing.T, err error, text string) {
	t.Helper()
	if chassi.ErrorOf(err).Code != chassi.Unavailable || !strings.Contains(err.Error(), text) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%v, want unavailable and %q", err, text)
	}
}

// R90: a Start tells why the broker cannot be used, leaves nothing, and can be called again.
// Later Check tells it, and a broker that comes back with other credentials.
func TestStartAndCheckTellWhyTheBrokerCannotBeUsed(t *testing.T) {
	t.Parallel()
	addr, err := net.ResolveTCPAddr("tcp", freePort(t))
	if err != nil {
		t.Fatal(err)
	}
	p := proxytest.New(t, addr.String())
	s := natsapi.New(natsapi.Config{URL: "nats://me:hunter2@" + p.Addr, Logger: quiet})
	if err := s.Mount(worktest.Service(worktest.Succeed)); err != nil {
		t.Fatal(err)
	}
	wantUnavailable(t, s.Check(t.Context()), "not started")
	wantUnavailable(t, s.Start(t.Context()), "connection refused")

	other := privateServer(t, addr, "me", "another")
	p.Open()
	wantUnavailable(t, s.Start(t.Context()), "Authorization Violation")
	end(other)
	own := privateServer(t, addr, "me", "hunter2")
	p.Stall()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := s.Start(ctx); err == nil || chassi.ErrorOf(err).Code != chassi.Unavailable {
		t.Errorf("while it hangs: %v", err)
	}
	p.Resume()

	if err := startSoon(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	defer stop(t, s)
	if err := s.Check(t.Context()); err != nil {
		t.Error(err)
	}
	caller := dialClient(t, natsapi.ClientConfig{URL: "nats://me:hunter2@" + addr.String()})
	call := func() error {
		_, err := client.Invoke[worktest.Nothing](t.Context(), caller, "Do", &worktest.Job{})
		return err
	}
	if err := call(); err != nil {
		t.Error(err)
	}

	p.Cut()
	eventually(t, "Check tells of the refused connection", func() bool {
		err := s.Check(t.Context())
		return err != nil && strings.Contains(err.Error(), "connection refused")
	})
	end(own)
	other = privateServer(t, addr, "me", "another")
	p.Open()
	eventually(t, "Check tells of the refused password", func() bool {
		err := s.Check(t.Context())
		return err != nil && strings.Contains(err.Error(), "Authorization Violation")
	})
	end(other)
	own = privateServer(t, addr, "me", "hunter2")
	defer end(own)
	eventually(t, "connected again", func() bool { return s.Check(t.Context()) == nil })
	eventually(t, "a call succeeds", func() bool { return call() == nil })
}

func dialClient(t *testing.T, c natsapi.ClientConfig) *client.Client {
	t.Helper()
	c.Logger = quiet
	caller, err := natsapi.Dial(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(caller.Close)
	bound, err := client.New(worktest.Service(worktest.Succeed), caller)
	if err != nil {
		t.Fatal(err)
	}
	return bound
}

// A key or password that is refused is not tried for ever.
func TestDialReturnsErrorsOfTheServer(t *testing.T) {
	t.Parallel()
	n := privateServer(t, &net.TCPAddr{Port: server.RANDOM_PORT}, "me", "another")
	defer end(n)
	_, err := natsapi.Dial(t.Context(), natsapi.ClientConfig{URL: "nats://me:hunter2@" + n.Addr().String(), Logger: quiet})
	wantUnavailable(t, err, "The NATS server rejects the user, its password or its key")
}

// A missing permission to subscribe is reported, even while connected.
func TestCheckReportsMissingPermission(t *testing.T) {
	t.Parallel()
	n, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, Users: []*server.User{
		{Username: "me", Password: "hunter2", Permissions: &server.Permissions{Subscribe: &server.SubjectPermission{Deny: []string{">"}}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	n.Start()
	defer end(n)
	if !n.ReadyForConnections(30 * time.Second) {
		t.Fatal("the NATS server does not get ready")
	}
	s := start(t, natsapi.Config{URL: "nats://me:hunter2@" + n.Addr().String(), Logger: quiet}, nil, worktest.Service(worktest.Succeed))
	defer stop(t, s)
	eventually(t, "Check tells", func() bool {
		err := s.Check(t.Context())
		return err != nil && strings.Contains(err.Error(), "is not permitted to subscribe to "+s.Subjects()[0])
	})
}

// What no broker could make work is found before one is asked, and is final.
func TestStartRefusesWrongSettings(t *testing.T) {
	t.Parallel()
	garbage := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(garbage, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, c := range map[string]natsapi.Config{
		"natsapi: url":                      {URL: "nats://me:hunter2@host:x"},
		"natsapi: responses.url":            {Responses: natsapi.Responses{URL: "http://me:hunter2@host"}},
		"natsapi: ca_file: open /nowhere":   {CAFile: "/nowhere"},
		"contains no certificate":           {CAFile: garbage},
		"natsapi: credentials_file: open /": {Login: natsapi.Login{CredentialsFile: "/nowhere"}},
		"natsapi: nkey_file":                {Login: natsapi.Login{NkeyFile: "/nowhere"}},
		"natsapi: responses.nkey_file":      {Responses: natsapi.Responses{Login: natsapi.Login{NkeyFile: "/nowhere"}}},
		"natsapi: reply_subjects":           {ReplySubjects: []string{">"}},
	} {
		c.Logger = quiet
		for when, err := range map[string]error{"Validate": c.Validate(), "Start": natsapi.New(c).Start(t.Context())} {
			if err == nil || !strings.Contains(err.Error(), want) || chassi.ErrorOf(err).Code == chassi.Unavailable || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s: %v, want %q", when, err, want)
			}
		}
	}
}
