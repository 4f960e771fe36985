package consul_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// agent is a server that does what Consul's documentation of the HTTP API says of
// the calls used here: the catalog has an index that grows with each change, queries
// block on it, TTL checks become critical by themselves, and what stays critical is
// deregistered. It is no Consul: CHASSI_TEST_CONSUL names one that the tests which
// need no control over the agent run against instead.
type agent struct {
	token string // "" for no ACL

	mu       sync.Mutex
	server   *http.Server
	addr     string
	done     sync.WaitGroup
	services map[string]*service // by ID
	index    uint64
	changed  chan struct{} // closed with each change
	zero     bool          // respond with index 0
	queries  []string      // what was asked of /v1/health/service
	registry int           // registrations
}

type service struct {
	ID, Name, Address string
	Port              int
	Tags              []string
	Meta              map[string]string
	Check             struct{ CheckID, TTL, DeregisterCriticalServiceAfter, Status string }

	status, output string
	ttl, reap      *time.Timer
}

func startAgent(t *testing.T, token string) *agent {
	t.Helper()
	a := &agent{token: token, services: make(map[string]*service), index: 10, changed: make(chan struct{}), addr: "127.0.0.1:0"}
	a.start(t)
	t.Cleanup(func() {
		a.stop()
		a.forget()
	})
	return a
}

func (a *agent) url() string { return "http://" + a.addr }

func (a *agent) start(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", a.addr)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/health/service/{name}", a.health)
	mux.HandleFunc("PUT /v1/agent/service/register", a.register)
	mux.HandleFunc("PUT /v1/agent/service/deregister/{id}", a.deregister)
	mux.HandleFunc("PUT /v1/agent/check/update/{id}", a.update)
	a.addr, a.server = l.Addr().String(), &http.Server{Handler: a.acl(mux)}
	server := a.server
	a.done.Go(func() { server.Serve(l) })
}

func (a *agent) stop() {
	a.server.Close()
	a.done.Wait()
}

// forget simulates a restart without data: the index begins at 1 again.
func (a *agent) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for id := range a.services {
		a.remove(id)
	}
	a.index = 1
}

func (a *agent) set(change func(*agent)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change(a)
}

func (a *agent) acl(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a.token != "" && r.Header.Get("X-Consul-Token") != a.token {
			http.Error(w, "Permission denied: token lacks permission", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// touch is called with the lock held.
func (a *agent) touch() {
	a.index++
	close(a.changed)
	a.changed = make(chan struct{})
}

func (a *agent) remove(id string) {
	if s := a.services[id]; s != nil {
		s.ttl.Stop()
		s.reap.Stop()
		delete(a.services, id)
		a.touch()
	}
}

func (a *agent) register(w http.ResponseWriter, r *http.Request) {
	var s service
	if err := json.NewDecoder(r.Body).Decode(&s); err != nil || s.Name == "" {
		http.Error(w, "Request decode failed", http.StatusBadRequest)
		return
	}
	ttl, err := time.ParseDuration(s.Check.TTL)
	after, err2 := time.ParseDuration(s.Check.DeregisterCriticalServiceAfter)
	if err != nil || err2 != nil || r.URL.Query().Get("replace-existing-checks") == "" {
		http.Error(w, "bad check", http.StatusBadRequest)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.remove(s.ID)
	s.status = "critical"
	s.ttl = time.AfterFunc(ttl, func() { a.expire(&s, "TTL expired") })
	s.reap = time.AfterFunc(max(after, time.Minute), func() { a.set(func(a *agent) { a.remove(s.ID) }) })
	a.services[s.ID] = &s
	a.registry++
	a.touch()
}

func (a *agent) expire(s *service, why string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.services[s.ID] == s {
		a.report(s, "critical", why)
	}
}

func (a *agent) report(s *service, status, output string) {
	if s.status != status && status == "critical" {
		after, _ := time.ParseDuration(s.Check.DeregisterCriticalServiceAfter)
		s.reap.Reset(max(after, time.Minute))
	} else if status != "critical" {
		s.reap.Stop()
	}
	if s.status != status || s.output != output {
		s.status, s.output = status, output
		a.touch()
	}
}

func (a *agent) update(w http.ResponseWriter, r *http.Request) {
	var body struct{ Status, Output string }
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil || !slices.Contains([]string{"passing", "warning", "critical"}, body.Status) {
		http.Error(w, "Invalid check status", http.StatusBadRequest)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.services {
		if s.Check.CheckID == r.PathValue("id") {
			ttl, _ := time.ParseDuration(s.Check.TTL)
			s.ttl.Reset(ttl)
			a.report(s, body.Status, body.Output)
			return
		}
	}
	http.Error(w, fmt.Sprintf("Unknown check ID %q. Ensure that the check ID is passed, not the check name.", r.PathValue("id")), http.StatusNotFound)
}

func (a *agent) deregister(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.services[r.PathValue("id")] == nil {
		http.Error(w, "Unknown service ID", http.StatusNotFound)
		return
	}
	a.remove(r.PathValue("id"))
}

// health blocks while the index is not above the one that was asked with, for wait and up to a
// sixteenth more.
func (a *agent) health(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	asked, _ := strconv.ParseUint(query.Get("index"), 10, 64)
	wait, err := time.ParseDuration(query.Get("wait"))
	if err != nil {
		wait = 5 * time.Minute
	}
	late := time.After(wait + rand.N(wait/16+1))
	a.set(func(a *agent) { a.queries = append(a.queries, r.URL.RawQuery) })
	for {
		a.mu.Lock()
		index, changed := a.index, a.changed
		entries := a.find(r.PathValue("name"), query.Get("tag"), query.Get("passing") != "")
		zero := a.zero
		a.mu.Unlock()
		if zero {
			index = 0
		}
		blocked := asked > 0 && index <= asked
		if blocked {
			select {
			case <-changed:
				continue
			case <-r.Context().Done():
				return
			case <-late:
			}
		}
		w.Header().Set("X-Consul-Index", strconv.FormatUint(index, 10))
		json.NewEncoder(w).Encode(entries)
		return
	}
}

func (a *agent) find(name, tag string, passing bool) []map[string]any {
	entries := []map[string]any{}
	for _, s := range a.services {
		if s.Name != name || tag != "" && !slices.Contains(s.Tags, tag) || passing && s.status != "passing" {
			continue
		}
		entries = append(entries, map[string]any{
			"Node":    map[string]any{"Node": "n1", "Address": "10.1.1.1"},
			"Service": map[string]any{"ID": s.ID, "Service": s.Name, "Address": s.Address, "Port": s.Port, "Tags": s.Tags, "Meta": s.Meta},
			"Checks":  []any{map[string]any{"CheckID": s.Check.CheckID, "Status": s.status, "Output": s.output}},
		})
	}
	return entries
}

// asked reports whether some query had the text in it.
func (a *agent) asked(text string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.ContainsFunc(a.queries, func(q string) bool { return strings.Contains(q, text) })
}

// fresh counts the queries that did not want to block.
func (a *agent) fresh() (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, q := range a.queries {
		if !strings.Contains(q, "index=") {
			n++
		}
	}
	return n
}

func (a *agent) registrations() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.registry
}
