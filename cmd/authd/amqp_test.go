package main

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/auth"
	"github.com/chassi-go/chassi/internal/rabbittest"
	"github.com/chassi-go/chassi/transport/amqpapi"
)

// authOver calls authd as a user of RabbitMQ, which forwards for an address if it is not "".
func authOver(t *testing.T, url, address string) auth.Service {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	caller, err := amqpapi.Dial(ctx, amqpapi.ClientConfig{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(caller.Close)
	service, err := auth.NewClient(caller, func(_ *chassi.Binding, next chassi.Handler) chassi.Handler {
		return func(ctx context.Context, call *chassi.Call) error {
			if address != "" {
				call.In.Set("X-Forwarded-For", address)
			}
			return next(ctx, call)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return service
}

// Guesses over AMQP are counted by the client that RabbitMQ authenticated, or by the
// address that a trusted one forwards for, as over HTTP by the network: one client
// that guesses keeps no other out, sprays over a bounded number of accounts, and cannot
// claim another's address (R75).
func TestGuessesOverAMQPAreCountedByClient(t *testing.T) {
	t.Parallel()
	const names = `^auth\.v1\.Auth(\.requests)?$`
	caller := rabbittest.On("^$", `^auth\.v1\.Auth$`, "^$")
	v := rabbittest.New(t, map[string]rabbittest.Rights{
		"service": rabbittest.On(names, names, names), "responses": rabbittest.On("^$", `^amq\.default$`, "^$"), "owner": caller, "mallory": caller, "gateway": caller,
	})
	n := start(t, t.TempDir(), "--amqp.url="+v.URL("service"), "--amqp.responses.url="+v.URL("responses"), "--amqp.trusted_clients="+v.User("gateway"), "--amqp.max_concurrent=64")
	for _, email := range []string{"ada@example.org", "bob@example.org"} {
		n.post("/v1/users", "", object{"email": email, "password": "an analytical engine"})
	}
	logIn := func(s auth.Service, email, password string) error {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		_, err := s.Authenticate(ctx, &auth.AuthenticateRequest{Email: email, Password: password})
		return err
	}
	mallory, owner, gateway := authOver(t, v.URL("mallory"), "192.0.2.9"), authOver(t, v.URL("owner"), ""), authOver(t, v.URL("gateway"), "192.0.2.9")
	eventually(t, "the client that guessed is locked", func() bool { // for a second, which a busy machine may miss
		for range 9 {
			if err := logIn(mallory, "ada@example.org", "a wrong guess"); !errors.Is(err, auth.ErrInvalidUser) {
				t.Fatal(err)
			}
		}
		return errors.Is(logIn(mallory, "ada@example.org", "an analytical engine"), auth.ErrInvalidUser)
	})
	for who, s := range map[string]auth.Service{"the owner": owner, "the owner behind the gateway": gateway} {
		if err := logIn(s, "ada@example.org", "an analytical engine"); err != nil {
			t.Errorf("%s is kept out: %v", who, err)
		}
	}
	before := n.events("login_failed")
	evaluated, delays, tried := 0, 0, false
	for i := 0; i < 300 || !tried && i < 3000; i++ {
		if err := logIn(mallory, fmt.Sprintf("user%d@example.org", i), "a wrong guess"); !errors.Is(err, auth.ErrInvalidUser) {
			t.Fatal(err)
		}
		if e := n.events("login_failed") - before; e > evaluated && i > evaluated { // after others were not
			evaluated, delays = e, delays+1
		} else {
			evaluated = e
		}
		if delays == 3 && !tried { // one of some seconds has just begun
			tried = true
			if err := logIn(mallory, "bob@example.org", "an analytical engine"); !errors.Is(err, auth.ErrInvalidUser) {
				t.Errorf("the client that sprayed is not kept out: %v", err)
			}
		}
	}
	if evaluated > 110 || !tried { // 100, and one for each delay that has passed
		t.Errorf("%d guesses at different accounts were evaluated, %d of them after a delay", evaluated, delays)
	}
	if err := logIn(gateway, "bob@example.org", "an analytical engine"); err != nil {
		t.Errorf("an address that mallory claimed is kept out: %v", err)
	}
}
