package kubernetes

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chassi-go/chassi/discovery"
	"github.com/chassi-go/chassi/internal/disctest"
)

var _ discovery.Source = (*Source)(nil)

// pods makes a slice of ready pods with the ports 8080 (http) and 9090 (grpc).
func pods(family string, ips ...string) object {
	endpoints := []object{}
	for _, ip := range ips {
		endpoints = append(endpoints, object{"addresses": []string{ip}, "conditions": object{"ready": true, "serving": true, "terminating": false}})
	}
	return object{"addressType": family, "endpoints": endpoints, "ports": []object{
		{"name": "http", "port": 8080, "protocol": "TCP"}, {"name": "grpc", "port": 9090, "protocol": "TCP"}, {"name": "quic", "port": 9443, "protocol": "UDP"},
	}}
}

func (s *apiServer) source(t *testing.T, c Config, port string) *Source {
	t.Helper()
	source, err := newSource(c, "auth", port, s.getenv, s.dir)
	if err != nil {
		t.Fatal(err)
	}
	return source
}

func TestFollowsSlices(t *testing.T) {
	t.Parallel()
	s := startAPIServer(t)
	s.apply("auth-1", pods("IPv4", "10.0.0.1"))
	var l disctest.Log
	updates := disctest.Follow(t, s.source(t, Config{}, "grpc"), &l)
	disctest.Expect(t, updates, "10.0.0.1:9090")
	s.apply("auth-2", pods("IPv4", "10.0.0.3", "10.0.0.2"))
	disctest.Expect(t, updates, "10.0.0.1:9090", "10.0.0.2:9090", "10.0.0.3:9090")
	s.apply("auth-1", pods("IPv4", "10.0.0.4"))
	disctest.Expect(t, updates, "10.0.0.2:9090", "10.0.0.3:9090", "10.0.0.4:9090")
	s.remove("auth-2")
	disctest.Expect(t, updates, "10.0.0.4:9090")
	if lists, watches := s.counts(); lists != 1 || watches != 1 {
		t.Errorf("%d lists and %d watches, want one each", lists, watches)
	}
	if q := s.watches[0]; q.Get("allowWatchBookmarks") == "" || q.Get("timeoutSeconds") == "" || q.Get("resourceVersion") != "101" {
		t.Errorf("watched with %v", q)
	}
	s.remove("auth-1")
	disctest.Eventually(t, "the loss of all is logged", func() bool { return l.Count(discovery.ErrNoInstances.Error()) == 1 })
	s.apply("auth-1", pods("IPv4", "10.0.0.5"))
	disctest.Expect(t, updates, "10.0.0.5:9090")
}

func TestOnlyReadyPods(t *testing.T) {
	t.Parallel()
	s := startAPIServer(t)
	slice := pods("IPv4", "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6")
	for i, conditions := range []object{
		{"ready": true}, {}, {"ready": false}, {"ready": false, "serving": true, "terminating": true},
		{"ready": true, "serving": true, "terminating": true}, {"ready": true, "serving": false},
	} {
		slice["endpoints"].([]object)[i]["conditions"] = conditions
	}
	slice["endpoints"] = append(slice["endpoints"].([]object), object{"addresses": []string{}})
	s.apply("auth-1", slice)
	source := s.source(t, Config{}, "http")
	defer source.Close()
	addrs, err := source.Next(t.Context())
	slices.Sort(addrs)
	if want := []string{"10.0.0.1:8080", "10.0.0.2:8080"}; err != nil || !slices.Equal(addrs, want) {
		t.Errorf("%q, %v, want %q", addrs, err, want)
	}
}

func TestPorts(t *testing.T) {
	t.Parallel()
	s := startAPIServer(t)
	s.apply("auth-1", pods("IPv4", "10.0.0.1"))
	one := pods("IPv4", "10.0.0.2")
	one["ports"] = one["ports"].([]object)[:1]
	next := func(port string) ([]string, error) {
		source := s.source(t, Config{}, port)
		defer source.Close()
		return source.Next(t.Context())
	}
	for port, want := range map[string]string{"http": "10.0.0.1:8080", "9090": "10.0.0.1:9090", "quic": "", "9443": "", "80": "", "x": ""} {
		if addrs, err := next(port); err != nil || strings.Join(addrs, " ") != want {
			t.Errorf("port %q: %q, %v, want %q", port, addrs, err, want)
		}
	}
	if addrs, err := next(""); err == nil || !strings.Contains(err.Error(), "set the port") {
		t.Errorf("no port of two: %q, %v", addrs, err)
	}
	s.apply("auth-1", one)
	if addrs, err := next(""); err != nil || !slices.Equal(addrs, []string{"10.0.0.2:8080"}) {
		t.Errorf("no port of one: %q, %v", addrs, err)
	}
	one = pods("IPv4", "10.0.0.2")
	one["ports"] = []object{{"name": ""}}
	s.apply("auth-1", one)
	if addrs, err := next("7000"); err != nil || !slices.Equal(addrs, []string{"10.0.0.2:7000"}) {
		t.Errorf("a number where all ports are meant: %q, %v", addrs, err)
	}
}

func TestDualStackGivesEachPodOnce(t *testing.T) {
	t.Parallel()
	s := startAPIServer(t)
	s.apply("auth-4", pods("IPv4", "10.0.0.1"))
	s.apply("auth-6", pods("IPv6", "2001:db8::1"))
	var l disctest.Log
	updates := disctest.Follow(t, s.source(t, Config{}, "grpc"), &l)
	disctest.Expect(t, updates, "10.0.0.1:9090")
	s.remove("auth-4")
	disctest.Expect(t, updates, "[2001:db8::1]:9090")
}

// A version that is too old comes as a status or as an event, and means a new list.
func TestGone(t *testing.T) {
	t.Parallel()
	for name, status := range map[string]bool{"status": true, "event": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startAPIServer(t)
			s.gone = status
			s.apply("auth-1", pods("IPv4", "10.0.0.1"))
			source := s.source(t, Config{}, "grpc")
			defer source.Close()
			if addrs, err := source.Next(t.Context()); err != nil || len(addrs) != 1 {
				t.Fatal(addrs, err)
			}
			s.apply("auth-1", pods("IPv4", "10.0.0.2"))
			s.compact()
			addrs, err := source.Next(t.Context())
			if lists, _ := s.counts(); err != nil || lists != 2 || !slices.Equal(addrs, []string{"10.0.0.2:9090"}) {
				t.Errorf("%q, %v after %d lists", addrs, err, lists)
			}
		})
	}
}

// A watch ends by itself and begins where it ended; after a bookmark that is later
// than the last change of ours.
func TestWatchBeginsAgain(t *testing.T) {
	t.Parallel()
	s := startAPIServer(t)
	s.apply("auth-1", pods("IPv4", "10.0.0.1"))
	var l disctest.Log
	updates := disctest.Follow(t, s.source(t, Config{Refresh: time.Second}, "grpc"), &l)
	disctest.Expect(t, updates, "10.0.0.1:9090")
	disctest.Eventually(t, "a watch", func() bool { _, watches := s.counts(); return watches == 1 })
	s.bookmark()
	disctest.Eventually(t, "more watches", func() bool { _, watches := s.counts(); return watches >= 3 })
	s.apply("auth-1", pods("IPv4", "10.0.0.2"))
	disctest.Expect(t, updates, "10.0.0.2:9090")
	lists, _ := s.counts()
	s.mu.Lock()
	defer s.mu.Unlock()
	if version := s.watches[2].Get("resourceVersion"); lists != 1 || version != "152" || l.Count("level=WARN") != 0 {
		t.Errorf("%d lists, the third watch begins at %s, want 152, that of the bookmark", lists, version)
	}
}

// Fault 42: the API server fails. And kubelet replaces the token meanwhile.
func TestServerFails(t *testing.T) {
	t.Parallel()
	s := startAPIServer(t)
	s.apply("auth-1", pods("IPv4", "10.0.0.1"))
	var l disctest.Log
	updates := disctest.Follow(t, s.source(t, Config{}, "grpc"), &l)
	disctest.Expect(t, updates, "10.0.0.1:9090")
	s.set(func(s *apiServer) { s.broken = true })
	s.server.CloseClientConnections()
	disctest.Eventually(t, "the loss is logged", func() bool { return l.Count("discovery fails") == 1 })
	s.rotate(t, "second")
	s.apply("auth-1", pods("IPv4", "10.0.0.2"))
	s.set(func(s *apiServer) { s.broken = false })
	disctest.Expect(t, updates, "10.0.0.2:9090")
	if lost, back := l.Count("discovery fails"), l.Count("works again"); lost != 1 || back != 1 {
		t.Errorf("one failure is logged %d times, its end %d times", lost, back)
	}
	if l.Count("first") != 0 || l.Count("second") != 0 {
		t.Error("a token stands in the log")
	}
}

func TestHungServerIsAbandoned(t *testing.T) {
	t.Parallel()
	s := startAPIServer(t)
	source := s.source(t, Config{Timeout: 200 * time.Millisecond}, "grpc")
	defer source.Close()
	s.mu.Lock() // it answers nothing now
	began := time.Now()
	addrs, err := source.Next(t.Context())
	s.mu.Unlock()
	if err == nil || time.Since(began) > 5*time.Second {
		t.Errorf("%q, %v after %v", addrs, err, time.Since(began))
	}
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	nothing := func(string) string { return "" }
	if _, err := newSource(Config{}, "auth", "", nothing, t.TempDir()); err == nil || !strings.Contains(err.Error(), "not running in a pod") {
		t.Errorf("outside of a pod: %v", err)
	}
	if _, err := newSource(Config{URL: "https://127.0.0.1:1"}, "auth", "", nothing, t.TempDir()); err == nil || !strings.Contains(err.Error(), "namespace") {
		t.Errorf("without a namespace: %v", err)
	}
	for _, url := range []string{"127.0.0.1:6443", "https://", "ftp://a"} {
		if _, err := NewSource(Config{URL: url, Namespace: "prod"}, "auth", ""); err == nil {
			t.Errorf("the url %q is taken", url)
		}
	}
	if _, err := NewSource(Config{URL: "https://127.0.0.1:1", Namespace: "prod"}, "", ""); err == nil {
		t.Error("no name is taken")
	}
	s := startAPIServer(t)
	os.Remove(filepath.Join(s.dir, "token"))
	if _, err := s.source(t, Config{}, "").Next(t.Context()); err == nil || !strings.Contains(err.Error(), "token") {
		t.Errorf("without a token: %v", err)
	}
	s.write(t, "ca.crt", "rubbish")
	if _, err := newSource(Config{}, "auth", "", s.getenv, s.dir); err == nil {
		t.Error("CAs that are none are taken")
	}
}
