package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/discovery"
	"github.com/chassi-go/chassi/discovery/etcd"
	"github.com/chassi-go/chassi/internal/disctest"
)

var (
	_ chassi.Component = (*etcd.Registration)(nil)
	_ discovery.Source = (*etcd.Source)(nil)
)

const (
	authA = `{"Addr":"10.0.0.1:80","Op":0}`
	authB = `{"Op":0,"Addr":"10.0.0.2:80","Metadata":null}` // as client/v3/naming/endpoints writes it
)

// config of a client whose registrations beat once a second.
func config(l *disctest.Log, members ...*member) etcd.Config {
	var urls []string
	for _, m := range members {
		urls = append(urls, m.url)
	}
	return etcd.Config{URL: strings.Join(urls, ","), TTL: 3 * time.Second, Timeout: 2 * time.Second, Logger: l.Logger()}
}

func newSource(t *testing.T, c etcd.Config) *etcd.Source {
	t.Helper()
	source, err := etcd.NewSource(c, "auth")
	if err != nil {
		t.Fatal(err)
	}
	return source
}

// register starts a registration and stops it in the end.
func register(t *testing.T, c etcd.Config, addr string, probe func(context.Context) error) *etcd.Registration {
	t.Helper()
	r, err := etcd.NewRegistration(c, etcd.Service{Name: "auth", Addr: addr, Probe: probe})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(t.Context()); err != nil {
		t.Fatalf("Start: %v", err)
	}
	t.Cleanup(func() { stop(t, r) })
	return r
}

func stop(t *testing.T, r *etcd.Registration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := r.Stop(ctx); err != nil {
		t.Errorf("Stop: %v", err)
	}
}

func TestSourceFollows(t *testing.T) {
	t.Parallel()
	m := startEtcd(t)
	m.put(t, "services/auth/a", authA)
	m.put(t, "services/auth2/x", `{"Addr":"10.9.9.9:80"}`)
	m.put(t, "services/auth/rubbish", `{"Addr":"nowhere"}`)
	var l disctest.Log
	updates := disctest.Follow(t, newSource(t, config(&l, m)), &l)
	disctest.Expect(t, updates, "10.0.0.1:80")
	m.put(t, "services/auth/b", authB)
	disctest.Expect(t, updates, "10.0.0.1:80", "10.0.0.2:80")
	m.put(t, "services/auth/c", `{"addr":"10.0.0.3:80"}`)
	disctest.Expect(t, updates, "10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80")
	m.del(t, "services/auth/a")
	disctest.Expect(t, updates, "10.0.0.2:80", "10.0.0.3:80")
	m.put(t, "services/auth/c", `not even JSON`)
	disctest.Expect(t, updates, "10.0.0.2:80")
	if n := l.Count("entries are skipped"); n != 2 {
		t.Errorf("entries that are not addresses are logged %d times", n)
	}
	m.del(t, "services/auth/b")
	disctest.Eventually(t, "the loss of all is logged", func() bool { return l.Count(discovery.ErrNoInstances.Error()) == 1 })
	m.put(t, "services/auth/b", authA)
	disctest.Expect(t, updates, "10.0.0.1:80")
}

// Between the list and the watch the revision is compacted.
func TestSourceSurvivesCompaction(t *testing.T) {
	t.Parallel()
	m := startEtcd(t)
	m.put(t, "services/auth/a", authA)
	var l disctest.Log
	source := newSource(t, config(&l, m))
	defer source.Close()
	if addrs, err := source.Next(t.Context()); err != nil || !slices.Equal(addrs, []string{"10.0.0.1:80"}) {
		t.Fatal(addrs, err)
	}
	m.put(t, "services/auth/a", authB)
	m.put(t, "other", "x")
	m.put(t, "other", "y")
	m.do(t, "/v3/kv/compaction", `{"revision":"4"}`, nil)
	if addrs, err := source.Next(t.Context()); err != nil || !slices.Equal(addrs, []string{"10.0.0.2:80"}) {
		t.Errorf("after the compaction: %q, %v", addrs, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
	defer cancel()
	if addrs, err := source.Next(ctx); err == nil {
		t.Errorf("%q without a change", addrs)
	}
}

func TestWatchBeginsAnew(t *testing.T) {
	t.Parallel()
	m := startEtcd(t)
	m.put(t, "services/auth/a", authA)
	var l disctest.Log
	c := config(&l, m)
	c.Refresh = time.Second
	source := newSource(t, c)
	defer source.Close()
	for i := range 3 {
		if addrs, err := source.Next(t.Context()); err != nil || !slices.Equal(addrs, []string{"10.0.0.1:80"}) {
			t.Fatalf("call %d: %q, %v", i, addrs, err)
		}
	}
}

func TestRegistrationFollowsHealth(t *testing.T) {
	t.Parallel()
	m := startEtcd(t)
	var l disctest.Log
	var sick atomic.Bool
	r := register(t, config(&l, m), "10.0.0.1:80", func(context.Context) error {
		if sick.Load() {
			return errors.New("the database is down")
		}
		return nil
	})
	updates := disctest.Follow(t, newSource(t, config(&l, m)), &l)
	disctest.Expect(t, updates, "10.0.0.1:80")
	const key = "services/auth/10.0.0.1:80"
	if got := m.value(t, key); got != authA {
		t.Errorf("registered as %s, want %s", got, authA)
	}
	sick.Store(true)
	disctest.Eventually(t, "withdrawn", func() bool { return m.value(t, key) == "" })
	sick.Store(false)
	disctest.Eventually(t, "there again", func() bool { return m.value(t, key) == authA })
	if l.Count("the database is down") != 1 {
		t.Errorf("the log does not say once why:\n%s", l.String())
	}
	m.del(t, key)
	disctest.Eventually(t, "put again after somebody deleted it", func() bool { return m.value(t, key) == authA })
	m.do(t, "/v3/lease/revoke", fmt.Sprintf(`{"ID":%q}`, m.leases(t)[0]), nil)
	disctest.Eventually(t, "put again after the lease is lost", func() bool { return m.value(t, key) == authA })
	r.Drain()
	disctest.Eventually(t, "gone after Drain", func() bool { return m.value(t, key) == "" && len(m.leases(t)) == 0 })
}

func TestStopRevokesTheLease(t *testing.T) {
	t.Parallel()
	m := startEtcd(t)
	var l disctest.Log
	r, err := etcd.NewRegistration(config(&l, m), etcd.Service{Name: "auth", Addr: "10.0.0.1:80", ID: "one"})
	if err != nil {
		t.Fatal(err)
	}
	if r.Name() != "etcd" {
		t.Errorf("Name is %q", r.Name())
	}
	r.Start(t.Context())
	disctest.Eventually(t, "registered", func() bool { return m.value(t, "services/auth/one") == authA })
	stop(t, r)
	if v, ids := m.value(t, "services/auth/one"), m.leases(t); v != "" || len(ids) != 0 {
		t.Errorf("after Stop there are %q and the leases %q", v, ids)
	}
}

// Fault 42: kill -9 etcd, start it with its data and without.
func TestKillNine(t *testing.T) {
	t.Parallel()
	for name, wipe := range map[string]bool{"data kept": false, "data lost": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := startEtcd(t)
			var sourceLog, registrationLog disctest.Log
			register(t, config(&registrationLog, m), "10.0.0.1:80", nil)
			disctest.Eventually(t, "registered", func() bool { return registrationLog.Count("msg=registered") == 1 })
			updates := disctest.Follow(t, newSource(t, config(&sourceLog, m)), &sourceLog)
			disctest.Expect(t, updates, "10.0.0.1:80")
			m.kill()
			disctest.Eventually(t, "both have noticed", func() bool {
				return sourceLog.Count("discovery fails") == 1 && registrationLog.Count("cannot be updated") == 1
			})
			if wipe {
				os.RemoveAll(m.dir)
			}
			m.start(t)
			m.await(t)
			disctest.Eventually(t, "both work again", func() bool {
				return sourceLog.Count("works again") == 1 && registrationLog.Count("msg=registered") == 2
			})
			if v := m.value(t, "services/auth/10.0.0.1:80"); v != authA || len(updates) != 0 {
				t.Errorf("the registration is %q, and there were %d updates", v, len(updates))
			}
			m.put(t, "services/auth/b", authB)
			disctest.Expect(t, updates, "10.0.0.1:80", "10.0.0.2:80")
			if lost, failed := sourceLog.Count("discovery fails"), registrationLog.Count("cannot be updated"); lost != 1 || failed != 1 {
				t.Errorf("one failure is logged %d and %d times", lost, failed)
			}
		})
	}
}

// When the watched one of three members fails, discovery continues with another member.
func TestFailover(t *testing.T) {
	t.Parallel()
	members := newMembers(t, 3)
	for _, m := range members {
		m.start(t)
	}
	for _, m := range members {
		m.await(t)
	}
	var l disctest.Log
	updates := disctest.Follow(t, newSource(t, config(&l, members...)), &l)
	disctest.Eventually(t, "the loss is logged", func() bool { return l.Count("discovery fails") == 1 })
	members[1].put(t, "services/auth/a", authA)
	disctest.Expect(t, updates, "10.0.0.1:80")
	members[0].kill()
	disctest.Eventually(t, "the others have a leader", func() bool {
		return members[1].try("/v3/kv/put", `{"key":"b3RoZXI=","value":"eA=="}`, nil) == nil
	})
	members[1].put(t, "services/auth/b", authB)
	disctest.Expect(t, updates, "10.0.0.1:80", "10.0.0.2:80")
}

// The first member takes connections and never responds.
func TestHungMember(t *testing.T) {
	t.Parallel()
	hung, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer hung.Close()
	silent := &member{url: "http://" + hung.Addr().String()}
	m := startEtcd(t)
	m.put(t, "services/auth/a", authA)
	var l disctest.Log
	c := config(&l, silent, m)
	c.Timeout = 300 * time.Millisecond
	source := newSource(t, c)
	defer source.Close()
	if addrs, err := source.Next(t.Context()); err != nil || len(addrs) != 1 {
		t.Errorf("with one of two: %q, %v", addrs, err)
	}
	c = config(&l, silent)
	c.Timeout = 300 * time.Millisecond
	alone := newSource(t, c)
	defer alone.Close()
	began := time.Now()
	if addrs, err := alone.Next(t.Context()); err == nil || time.Since(began) > 5*time.Second {
		t.Errorf("with none: %q, %v after %v, want an error within 0.3 s", addrs, err, time.Since(began))
	}
}

func TestStartWithoutEtcd(t *testing.T) {
	t.Parallel()
	m := newMembers(t, 1)[0]
	var l disctest.Log
	register(t, config(&l, m), "10.0.0.1:80", nil)
	disctest.Eventually(t, "the loss is logged", func() bool { return l.Count("cannot be updated") == 1 })
	m.start(t)
	m.await(t)
	disctest.Eventually(t, "registered", func() bool { return m.value(t, "services/auth/10.0.0.1:80") == authA })
}

func TestStopWithoutEtcd(t *testing.T) {
	t.Parallel()
	m := startEtcd(t)
	var l disctest.Log
	register(t, config(&l, m), "10.0.0.1:80", nil) // stopped in the end, without error
	disctest.Eventually(t, "registered", func() bool { return l.Count("msg=registered") == 1 })
	m.kill()
}

// etcd forgets the tokens of logins when it restarts.
func TestLogin(t *testing.T) {
	t.Parallel()
	m := startEtcd(t)
	m.put(t, "services/auth/a", authA)
	m.do(t, "/v3/auth/user/add", `{"name":"root","password":"secret"}`, nil)
	m.do(t, "/v3/auth/user/grant", `{"user":"root","role":"root"}`, nil)
	m.do(t, "/v3/auth/enable", `{}`, nil)
	var l disctest.Log
	if _, err := newSource(t, config(&l, m)).Next(t.Context()); err == nil {
		t.Error("without login there is no error")
	}
	c := config(&l, m)
	c.User, c.Password = "root", "wrong"
	if _, err := newSource(t, c).Next(t.Context()); err == nil || strings.Contains(err.Error(), "wrong") {
		t.Errorf("with a wrong password the error is %v", err)
	}
	c.Password = "secret"
	updates := disctest.Follow(t, newSource(t, c), &l)
	disctest.Expect(t, updates, "10.0.0.1:80")
	register(t, c, "10.0.0.2:80", nil)
	disctest.Expect(t, updates, "10.0.0.1:80", "10.0.0.2:80")
	m.kill()
	disctest.Eventually(t, "noticed", func() bool { return l.Count("discovery fails") == 1 })
	m.start(t)
	disctest.Eventually(t, "works again", func() bool { return l.Count("works again") == 1 })
	register(t, c, "10.0.0.3:80", nil)
	disctest.ExpectAtLast(t, updates, "10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80")
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"127.0.0.1:2379", "ftp://a:1", "http://a:1,", "http://"} {
		if _, err := etcd.NewSource(etcd.Config{URL: url}, "auth"); err == nil {
			t.Errorf("the url %q is taken", url)
		}
	}
	for _, c := range []etcd.Config{{CAFile: "missing.pem"}, {CertFile: "missing.pem"}, {CertFile: "missing.pem", KeyFile: "missing.pem"}} {
		if _, err := etcd.NewSource(c, "auth"); err == nil {
			t.Errorf("files that are missing are taken: %+v", c)
		}
	}
	if _, err := etcd.NewSource(etcd.Config{}, ""); err == nil {
		t.Error("no name is taken")
	}
	for _, s := range []etcd.Service{{}, {Name: "auth"}, {Name: "auth", Addr: ":80"}, {Name: "a/b", Addr: "a:80"}, {Name: "auth", Addr: "a:0"}} {
		if _, err := etcd.NewRegistration(etcd.Config{}, s); err == nil {
			t.Errorf("%+v is taken", s)
		}
	}
}
