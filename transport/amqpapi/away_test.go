package amqpapi_test

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/proxytest"
	"github.com/chassi-go/chassi/internal/worktest"
	"github.com/chassi-go/chassi/transport/amqpapi"
)

func wantUnavailable(t *testing.T, err error, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if chassi.ErrorOf(err).Code != chassi.Unavailable || !strings.Contains(err.Error(), text) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v, want unavailable and %q", err, text)
		}
	}
}

// R90: a Start tells why the broker cannot be used, leaves nothing, and can be called again.
// Later Check tells it.
func TestStartAndCheckTellWhyTheBrokerCannotBeUsed(t *testing.T) {
	t.Parallel()
	direct, err := url.Parse(rabbitURL(t))
	if err != nil {
		t.Fatal(err)
	}
	p := proxytest.New(t, direct.Host)
	through := *direct
	through.Host = p.Addr
	name := prefix(t, direct.String(), worktest.Service(worktest.Succeed).Name())
	s := amqpapi.New(amqpapi.Config{URL: through.String(), Prefix: name, Expires: time.Minute, Logger: quiet})
	if err := s.Mount(worktest.Service(worktest.Succeed)); err != nil {
		t.Fatal(err)
	}
	wantUnavailable(t, s.Check(t.Context()), "not started")
	wantUnavailable(t, s.Start(t.Context()), "connection refused")
	p.Open()
	p.Stall()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := s.Start(ctx); chassi.ErrorOf(err).Code != chassi.Unavailable {
		t.Errorf("while it hangs: %v", err)
	}
	p.Resume()
	begin(t, s)
	defer stop(t, s)
	if err := s.Check(t.Context()); err != nil {
		t.Error(err)
	}
	p.Cut()
	until(t, "Check tells of the refused connection", func() bool {
		err := s.Check(t.Context())
		return err != nil && strings.Contains(err.Error(), "connection refused")
	})
	p.Open()
	until(t, "connected again", func() bool { return s.Check(t.Context()) == nil })
}

// A broker that hangs is not taken for one that refuses the password.
func TestStartReportsHungBroker(t *testing.T) {
	t.Parallel()
	u, err := url.Parse(rabbitURL(t))
	if err != nil {
		t.Fatal(err)
	}
	p := proxytest.New(t, u.Host)
	p.Open()
	p.Stall()
	u.Host = p.Addr
	wantUnavailable(t, amqpapi.New(amqpapi.Config{URL: u.String(), Logger: quiet}).Start(t.Context()), "no response within 5s")
}

// What the broker refuses names the user and what to do. It can heal without us.
func TestStartAndDialReportBrokerErrors(t *testing.T) {
	t.Parallel()
	u, err := url.Parse(rabbitURL(t))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		user  *url.Userinfo
		vhost string
		want  []string
	}{
		"password": {url.UserPassword("guest", "hunter2"), "/", []string{`the broker refuses the login of user "guest"`}},
		"vhost": {u.User, "/nowhere", []string{
			`the broker denies user "guest" the vhost "nowhere"`, "run rabbitmqctl add_vhost 'nowhere'", "rabbitmqctl set_permissions -p 'nowhere' 'guest'",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			to := url.URL{Scheme: "amqp", User: c.user, Host: u.Host, Path: c.vhost}
			wantUnavailable(t, amqpapi.New(amqpapi.Config{URL: to.String(), Logger: quiet}).Start(t.Context()), c.want...)
			_, err := amqpapi.Dial(t.Context(), amqpapi.ClientConfig{URL: to.String(), Logger: quiet})
			wantUnavailable(t, err, c.want...)
		})
	}
}

// What no broker could make work is found before one is asked, and is final.
func TestStartRefusesWrongSettings(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]amqpapi.Config{
		"url ***: invalid port": {URL: "amqp://me:hunter2@host:x"},
		"amqp.responses.url":    {URL: "amqp://me:hunter2@host", Responses: amqpapi.Responses{URL: "http://me:hunter2@host"}},
		"amqp.ca_file: open":    {URL: "amqps://me:hunter2@host", CAFile: "/nowhere"},
		"cacertfile: open":      {URL: "amqps://me:hunter2@host?cacertfile=/nowhere"},
		"certfile and keyfile":  {URL: "amqps://me:hunter2@host?certfile=/nowhere/client.pem&keyfile=/nowhere/key.pem"},
	} {
		c.Logger = quiet
		for when, err := range map[string]error{"Validate": c.Validate(), "Start": amqpapi.New(c).Start(t.Context())} {
			if err == nil || !strings.Contains(err.Error(), want) || chassi.ErrorOf(err).Code == chassi.Unavailable || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s: %v, want %q", when, err, want)
			}
		}
	}
}
