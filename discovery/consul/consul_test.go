package consul_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/discovery"
	"github.com/chassi-go/chassi/discovery/consul"
	"github.com/chassi-go/chassi/internal/disctest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	_ chassi.Component = (*consul.Registration)(nil)
	_ discovery.Source = (*consul.Source)(nil)
)

// anyAgent returns the URL of the agent at CHASSI_TEST_CONSUL, else of a test server.
func anyAgent(t *testing.T) string {
	t.Helper()
	if agent := os.Getenv("CHASSI_TEST_CONSUL"); agent != "" {
		return agent
	}
	return startAgent(t, "").url()
}

func uniqueName() string { return fmt.Sprintf("auth-%x", rand.Uint64()) }

// config of a client whose registrations beat three times a second.
func config(url string, l *disctest.Log) consul.Config {
	return consul.Config{URL: url, TTL: time.Second, Timeout: 2 * time.Second, Wait: 5 * time.Second, Logger: l.Logger()}
}

func newSource(t *testing.T, c consul.Config, name, tag string) *consul.Source {
	t.Helper()
	source, err := consul.NewSource(c, name, tag)
	if err != nil {
		t.Fatal(err)
	}
	return source
}

func register(t *testing.T, c consul.Config, s consul.Service) *consul.Registration {
	t.Helper()
	r, err := consul.NewRegistration(c, s)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(t.Context()); err != nil {
		t.Fatalf("Start: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := r.Stop(ctx); err != nil {
			t.Errorf("Stop: %v", err)
		}
	})
	return r
}

// states returns "ID status output" of each instance, whatever its health.
func states(t *testing.T, agent, name string) string {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get(agent + "/v1/health/service/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var entries []struct {
		Service struct{ ID string }
		Checks  []struct{ CheckID, Status, Output string }
	}
	if err := json.NewDecoder(response.Body).Decode(&entries); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, e := range entries {
		for _, c := range e.Checks {
			if strings.HasPrefix(c.CheckID, "service:") {
				fmt.Fprintf(&b, "%s %s %s\n", e.Service.ID, c.Status, c.Output)
			}
		}
	}
	return b.String()
}

func TestRegistrationIsFound(t *testing.T) {
	t.Parallel()
	agent, name := anyAgent(t), uniqueName()
	var l disctest.Log
	updates := disctest.Follow(t, newSource(t, config(agent, &l), name, ""), &l)
	blue := disctest.Follow(t, newSource(t, config(agent, &l), name, "blue"), &l)
	first := register(t, config(agent, &l), consul.Service{Name: name, Addr: "10.0.0.1:80", Tags: []string{"blue"}})
	disctest.Expect(t, updates, "10.0.0.1:80")
	register(t, config(agent, &l), consul.Service{Name: name, Addr: "10.0.0.2:81", Tags: []string{"green"}, Meta: map[string]string{"version": "2"}})
	disctest.Expect(t, updates, "10.0.0.1:80", "10.0.0.2:81")
	first.Drain()
	disctest.Expect(t, updates, "10.0.0.2:81")
	disctest.Expect(t, blue, "10.0.0.1:80")
	if len(blue) != 0 || first.Name() != "consul" {
		t.Errorf("%d more updates of a tag that one instance had; the name is %q", len(blue), first.Name())
	}
	if n := l.Count("msg=deregistered"); n != 1 {
		t.Errorf("deregistered %d times", n)
	}
}

func TestRegistrationFollowsHealth(t *testing.T) {
	t.Parallel()
	agent, name := anyAgent(t), uniqueName()
	var l disctest.Log
	var sick atomic.Bool
	sick.Store(true)
	register(t, config(agent, &l), consul.Service{Name: name, Addr: "10.0.0.1:80", ID: name + "-one", Probe: func(context.Context) error {
		if sick.Load() {
			return errors.New("the database is down")
		}
		return nil
	}})
	is := func(want string) func() bool {
		return func() bool { return strings.HasPrefix(states(t, agent, name), name+"-one "+want) }
	}
	disctest.Eventually(t, "critical", is("critical")) // an agent tells a new reason for the same state only minutes later
	sick.Store(false)
	disctest.Eventually(t, "passing", is("passing"))
	sick.Store(true)
	disctest.Eventually(t, "critical again", is("critical the database is down"))
	disctest.Eventually(t, "logged again", func() bool { return l.Count("the database is down") >= 2 }) // a moment after the agent knows
	if n := l.Count("the database is down"); n != 2 {
		t.Errorf("logged %d times, want once each time:\n%s", n, l.String())
	}
}

// A probe that hangs lets the TTL run out.
func TestHungProbeIsCritical(t *testing.T) {
	t.Parallel()
	agent, name := anyAgent(t), uniqueName()
	var l disctest.Log
	hang, probed := make(chan struct{}), make(chan struct{}, 100)
	register(t, config(agent, &l), consul.Service{Name: name, Addr: "10.0.0.1:80", Probe: func(context.Context) error {
		if probed <- struct{}{}; len(probed) > 1 {
			<-hang
		}
		return nil
	}})
	t.Cleanup(func() { close(hang) })
	disctest.Eventually(t, "critical by TTL", func() bool { return strings.Contains(states(t, agent, name), "critical TTL expired") })
}

func TestStopDeregisters(t *testing.T) {
	t.Parallel()
	agent, name := anyAgent(t), uniqueName()
	var l disctest.Log
	r, err := consul.NewRegistration(config(agent, &l), consul.Service{Name: name, Addr: "10.0.0.1:80"})
	if err != nil {
		t.Fatal(err)
	}
	r.Start(t.Context())
	disctest.Eventually(t, "passing", func() bool { return strings.Contains(states(t, agent, name), "passing") })
	if err := r.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if got := states(t, agent, name); got != "" {
		t.Errorf("after Stop there is %q", got)
	}
}

// Fault 42: the agent is down, and has lost everything when it is back.
func TestAgentRestarts(t *testing.T) {
	t.Parallel()
	a := startAgent(t, "")
	var sourceLog, registrationLog disctest.Log
	register(t, config(a.url(), &registrationLog), consul.Service{Name: "auth", Addr: "10.0.0.1:80"})
	disctest.Eventually(t, "registered", func() bool { return registrationLog.Count("msg=registered") == 1 })
	updates := disctest.Follow(t, newSource(t, config(a.url(), &sourceLog), "auth", ""), &sourceLog)
	disctest.Expect(t, updates, "10.0.0.1:80")
	a.stop()
	a.forget()
	disctest.Eventually(t, "both have noticed", func() bool {
		return sourceLog.Count("discovery fails") == 1 && registrationLog.Count("cannot be updated") == 1
	})
	a.start(t)
	disctest.Eventually(t, "both work again", func() bool {
		return sourceLog.Count("works again") == 1 && registrationLog.Count("msg=registered") == 2
	})
	register(t, config(a.url(), &registrationLog), consul.Service{Name: "auth", Addr: "10.0.0.2:80"})
	disctest.Expect(t, updates, "10.0.0.1:80", "10.0.0.2:80")
	if n := sourceLog.Count("discovery fails"); n != 1 {
		t.Errorf("one failure is logged %d times", n)
	}
}

// The agent loses its data and stays available: the index decreases.
func TestIndexGoesBackwards(t *testing.T) {
	t.Parallel()
	a := startAgent(t, "")
	var l disctest.Log
	register(t, config(a.url(), &l), consul.Service{Name: "auth", Addr: "10.0.0.1:80"})
	disctest.Eventually(t, "registered", func() bool { return l.Count("msg=registered") == 1 })
	c := config(a.url(), &l)
	c.Wait = time.Second
	source := newSource(t, c, "auth", "")
	defer source.Close()
	if addrs, err := source.Next(t.Context()); err != nil || len(addrs) != 1 {
		t.Fatal(addrs, err)
	}
	a.forget()
	for deadline := time.Now().Add(10 * time.Second); ; {
		addrs, err := source.Next(t.Context())
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("the registration does not come back: %q, %v", addrs, err)
		}
		if len(addrs) == 1 && a.registrations() > 1 && a.fresh() == 2 {
			break
		}
	}
}

// By Consul's documentation an index below 1 must not be sent: it would not block.
func TestIndexZero(t *testing.T) {
	t.Parallel()
	a := startAgent(t, "")
	a.set(func(a *agent) { a.zero = true })
	var l disctest.Log
	source := newSource(t, config(a.url(), &l), "auth", "")
	defer source.Close()
	began := time.Now()
	for range 3 {
		if _, err := source.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if a.asked("index=0") || !a.asked("index=1&") || time.Since(began) < time.Second/2 {
		t.Errorf("three calls in %v asked %q", time.Since(began), a.queries)
	}
}

func TestTokenAndDatacenter(t *testing.T) {
	t.Parallel()
	a := startAgent(t, "canary")
	var l disctest.Log
	c := config(a.url(), &l)
	if addrs, err := newSource(t, c, "auth", "").Next(t.Context()); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("without a token: %q, %v", addrs, err)
	}
	c.Token, c.Datacenter = "canary", "dc2"
	updates := disctest.Follow(t, newSource(t, c, "auth", ""), &l)
	register(t, c, consul.Service{Name: "auth", Addr: ":80"})
	disctest.Expect(t, updates, "10.1.1.1:80") // the node's
	disctest.Eventually(t, "a blocking query", func() bool { return a.asked("dc=dc2&index=") && a.asked("wait=5000ms") })
	if l.Count("canary") != 0 {
		t.Error("the token stands in the log")
	}
}

func TestStartWithoutAgent(t *testing.T) {
	t.Parallel()
	a := startAgent(t, "")
	a.stop()
	var l disctest.Log
	register(t, config(a.url(), &l), consul.Service{Name: "auth", Addr: "10.0.0.1:80"})
	disctest.Eventually(t, "the loss is logged", func() bool { return l.Count("cannot be updated") == 1 })
	a.start(t)
	disctest.Eventually(t, "registered", func() bool { return l.Count("msg=registered") == 1 })
	if !strings.Contains(states(t, a.url(), "auth"), "passing") {
		t.Error("not passing")
	}
	a.stop()
	a.start(t)
}

func TestStopWithoutAgent(t *testing.T) {
	t.Parallel()
	a := startAgent(t, "")
	var l disctest.Log
	register(t, config(a.url(), &l), consul.Service{Name: "auth", Addr: "10.0.0.1:80"}) // stopped in the end, without error
	disctest.Eventually(t, "registered", func() bool { return l.Count("msg=registered") == 1 })
	a.stop()
}

// What answers need not be an agent, and need not respond.
func TestRubbish(t *testing.T) {
	t.Parallel()
	responses := map[string]http.HandlerFunc{
		"no index": func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("[]")) },
		"no JSON": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Consul-Index", "1")
			w.Write([]byte("<html>"))
		},
		"elsewhere": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) },
		"endless": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Consul-Index", "1")
			for spaces := []byte(strings.Repeat(" ", 1<<20)); ; {
				if _, err := w.Write(spaces); err != nil {
					return
				}
			}
		},
		"never": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	}
	for name, response := range responses {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(response)
			defer server.Close()
			var l disctest.Log
			source := newSource(t, config(server.URL, &l), "auth", "")
			defer source.Close()
			began := time.Now()
			addrs, err := source.Next(t.Context())
			if err == nil || time.Since(began) > 10*time.Second {
				t.Errorf("%q, %v after %v", addrs, err, time.Since(began))
			}
			t.Log(err)
		})
	}
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"127.0.0.1:8500", "ftp://a:1", "http://", "http://a b"} {
		if _, err := consul.NewSource(consul.Config{URL: text}, "auth", ""); err == nil {
			t.Errorf("the url %q is taken", text)
		}
	}
	if _, err := consul.NewSource(consul.Config{}, "", ""); err == nil {
		t.Error("no name is taken")
	}
	if _, err := consul.NewRegistration(consul.Config{DeregisterAfter: time.Second}, consul.Service{Name: "auth", Addr: "a:80"}); err == nil {
		t.Error("a time that Consul does not keep is taken")
	}
	for _, s := range []consul.Service{{}, {Name: "auth"}, {Addr: "a:80"}, {Name: "auth", Addr: "a:0"}, {Name: "auth", Addr: "a"}} {
		if _, err := consul.NewRegistration(consul.Config{}, s); err == nil {
			t.Errorf("%+v is taken", s)
		}
	}
}
