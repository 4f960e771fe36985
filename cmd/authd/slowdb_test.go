package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chassi-go/chassi/internal/proxytest"
)

// outcomes counts responses by call and status or reason.
type outcomes struct {
	mu     sync.Mutex
	counts map[string]int
}

func (o *outcomes) add(call, outcome string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.counts[call+" "+outcome]++
}

// of returns how many responses to a call there were, and how many that are not the wanted one.
func (o *outcomes) of(call, want string) (all, others int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for key, n := range o.counts {
		if strings.HasPrefix(key, call+" ") {
			all += n
			if key != call+" "+want {
				others += n
			}
		}
	}
	return all, others
}

// every makes calls at an even rate, whatever becomes of them, and returns what ends that.
func every(interval time.Duration, call func(i int)) (stop func()) {
	done := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			case <-tick.C:
				all.Go(func() { call(i) })
			}
		}
	})
	return sync.OnceFunc(func() { close(done); all.Wait() })
}

// ask makes a call and returns the status, or the reason of an error.
func ask(method, url, bearer, body string) string {
	request, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return err.Error()
	}
	request.Header.Set("Content-Type", "application/json")
	if bearer != "" {
		request.Header.Set("Authorization", "Bearer "+bearer)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close()
	var problem struct {
		Error  string
		Checks map[string]struct{ Error string }
	}
	_ = json.NewDecoder(response.Body).Decode(&problem)
	if problem.Error != "" {
		return problem.Error
	}
	if database := problem.Checks["database"].Error; database != "" {
		return database
	}
	return strconv.Itoa(response.StatusCode)
}

// caller makes the calls of a mix, of several accounts.
type caller struct {
	n         *node
	bodies    []string
	tokens    []string
	forgotten map[int]bool // accounts whose token is not remembered any more
}

func newCaller(n *node, accounts int) *caller {
	n.t.Helper()
	c := &caller{n: n, forgotten: make(map[int]bool)}
	for i := range accounts {
		who := object{"email": fmt.Sprintf("user%d@example.org", i), "password": "an analytical engine"}
		n.post("/v1/users", "", who)
		c.tokens = append(c.tokens, n.login(who))
		body, err := json.Marshal(who)
		if err != nil {
			n.t.Fatal(err)
		}
		c.bodies = append(c.bodies, string(body))
	}
	return c
}

// remembered reports whether the token of an account is good without the database. A call
// that hangs is given up, and its account is not asked again: the calls that pile up are not
// those of the question.
func (c *caller) remembered() bool {
	good := make(chan int, len(c.tokens))
	asked := 0
	for i := range c.tokens {
		if !c.forgotten[i] {
			asked++
			go func() {
				if c.call("validate", i) == "200" {
					good <- i
				} else {
					good <- -1
				}
			}()
		}
	}
	still := make(map[int]bool)
	for limit := time.After(time.Second); asked > 0; asked-- {
		select {
		case i := <-good:
			still[i] = true
		case <-limit:
			asked = 1
		}
	}
	for i := range c.tokens {
		c.forgotten[i] = c.forgotten[i] || !still[i]
	}
	delete(still, -1)
	return len(still) > 0
}

func (c *caller) call(what string, i int) string {
	i %= len(c.tokens)
	switch what {
	case "login":
		return ask(http.MethodPost, c.n.http+"/v1/auth", "", c.bodies[i])
	case "validate":
		return ask(http.MethodPost, c.n.http+"/v1/validate-token", "", `{"token":"`+c.tokens[i]+`"}`)
	case "me":
		return ask(http.MethodGet, c.n.http+"/v1/me", c.tokens[i], "")
	case "keys":
		return ask(http.MethodGet, c.n.http+"/.well-known/jwks.json", "", "")
	case "live":
		return ask(http.MethodGet, c.n.admin+"/healthz", "", "")
	default:
		return ask(http.MethodGet, c.n.admin+"/readyz", "", "")
	}
}

// R93: however slow the database is, the keys and liveness need none, and a node whose calls
// succeed slowly is ready.
func TestSlowDatabaseFailsOnlyDependentCalls(t *testing.T) {
	t.Parallel()
	for _, roundTrip := range []time.Duration{100 * time.Millisecond, 300 * time.Millisecond} {
		t.Run(roundTrip.String(), func(t *testing.T) {
			p, url := behindProxy(t)
			p.Open()
			c := newCaller(start(t, t.TempDir(), "--database.url="+url, "--admin.max_connections_per_client=500",
				"--overload.min_in_flight=48"), 40)
			o := &outcomes{counts: make(map[string]int)}
			add := func(what string) func(int) { return func(i int) { o.add(what, c.call(what, i)) } }
			stop := []func(){every(10*time.Millisecond, add("validate")), every(100*time.Millisecond, add("login"))}
			seen := func(call string, n int) func() bool {
				return func() bool { all, _ := o.of(call, ""); return all >= n }
			}
			eventually(t, "calls", seen("validate", 200)) // what they usually take is known
			p.Delay(roundTrip / 2)
			for _, what := range []string{"keys", "live", "ready"} {
				stop = append(stop, every(100*time.Millisecond, add(what)))
			}
			eventually(t, "calls while the database is slow", seen("keys", 80))
			for _, s := range stop {
				s()
			}
			t.Log(o.counts)
			for _, what := range []string{"keys", "live", "ready"} {
				if all, failed := o.of(what, "200"); failed > 0 {
					t.Errorf("%s: %d of %d calls failed", what, failed, all)
				}
			}
		})
	}
}

// R94: after an outage of the database, nothing is refused for overload from the first success
// on. Five seconds of calls pile up, some 250 of one client, which this min_in_flight allows. Other
// tests may make the database slow before the outage, which is overload to a low tolerance, and then
// it is repeated; after the outage, calls take a thousand times as long as usual.
func TestNoOverloadAfterAnOutage(t *testing.T) {
	t.Parallel()
	for name, outage := range map[string][2]func(*proxytest.Proxy){
		"refused": {(*proxytest.Proxy).Cut, (*proxytest.Proxy).Open},
		"hangs":   {(*proxytest.Proxy).Stall, (*proxytest.Proxy).Resume},
	} {
		t.Run(name, func(t *testing.T) {
			var refused []string
			for range 3 {
				if refused = refusedAfterOutage(t, outage[0], outage[1]); len(refused) == 0 {
					return
				}
				t.Log("refused for overload:", refused)
			}
			t.Error("refused for overload, three times:", refused)
		})
	}
}

// refusedAfterOutage makes calls before, during and after an outage of the database, and returns
// what was refused for overload and should not have been.
func refusedAfterOutage(t *testing.T, begin, end func(*proxytest.Proxy)) (refused []string) {
	t.Helper()
	p, url := behindProxy(t)
	p.Open()
	c := newCaller(start(t, t.TempDir(), "--database.url="+url, "--overload.min_in_flight=1200", "--overload.tolerance=10",
		"--http.max_connections_per_client=5000", "--overload.max_in_flight_per_client=5000"), 40)
	before, during, after := &outcomes{counts: make(map[string]int)}, &outcomes{counts: make(map[string]int)}, &outcomes{counts: make(map[string]int)}
	var phase atomic.Pointer[outcomes]
	phase.Store(before)
	stop := every(20*time.Millisecond, func(i int) {
		what := [...]string{"validate", "me", "validate", "keys", "validate", "validate", "me", "validate"}[i%8]
		who := i
		if i%40 == 0 {
			what, who = "login", i/40
		}
		began := phase.Load()
		result := c.call(what, who)
		if began == during && what != "keys" && result == "200" && phase.CompareAndSwap(during, after) {
			return // the first success
		}
		began.add(what, result)
	})
	seen := func(o *outcomes, n int) func() bool {
		return func() bool {
			all := 0
			for _, what := range []string{"validate", "me", "keys", "login"} {
				some, _ := o.of(what, "")
				all += some
			}
			return all >= n
		}
	}
	eventually(t, "calls", seen(before, 100))
	begin(p)
	eventually(t, "what was remembered is forgotten", func() bool { return !c.remembered() })
	phase.Store(during)
	<-time.After(5 * time.Second) // the outage
	end(p)
	eventually(t, "calls afterwards", seen(after, 200))
	stop()
	t.Log("during:", during.counts, "after:", after.counts)
	for _, what := range []string{"validate", "me", "keys", "login"} {
		if n := after.counts[what+" overloaded"]; n > 0 {
			refused = append(refused, fmt.Sprintf("%s: %d calls after the first success", what, n))
		}
	}
	if n := during.counts["keys overloaded"]; n > 0 {
		refused = append(refused, fmt.Sprintf("keys: %d calls in the outage", n))
	}
	return refused
}
