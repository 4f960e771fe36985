package main

import (
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/chassi-go/chassi/internal/dbtest"
	"github.com/chassi-go/chassi/internal/disctest"
	"github.com/chassi-go/chassi/internal/proxytest"
)

// two starts two authd on one PostgreSQL, and gets a token.
func two(t *testing.T, args ...string) (a, b *process, token string) {
	t.Helper()
	args = append(args, "--database.url="+dbtest.Postgres(t))
	a = startAuthd(t, args...)
	return a, startAuthd(t, args...), login(t, a)
}

// static is the flag that names both.
func static(a, b *process) string {
	return "--auth.target=static:" + a.addr("grpc") + "," + b.addr("grpc")
}

// awaitCalls waits until each has served some more.
func awaitCalls(t *testing.T, each ...*process) {
	t.Helper()
	for _, p := range each {
		before := p.asked.Load()
		eventually(t, "authd gets calls", func() bool { return p.asked.Load() >= before+20 })
	}
}

// expect logs figures, and fails the test if more than maxFailed of the responses are failures.
func expect(t *testing.T, what string, maxFailed int, responses []response) {
	t.Helper()
	failed := failures(responses)
	longest, p99 := slowest(responses)
	t.Logf("%s: %d calls, %d failed, 99%% within %v, the slowest %v", what, len(responses), len(failed), p99, longest)
	if len(failed) > maxFailed {
		t.Errorf("%s: %d failed, want at most %d; the first: %+v", what, len(failed), maxFailed, failed[0])
	}
	if longest > limit+time.Second {
		t.Errorf("%s: a call took %v", what, longest)
	}
}

func TestOneOfTwoIsKilled(t *testing.T) {
	t.Parallel()
	a, b, token := two(t)
	n := startNotes(t, token, static(a, b))
	l := n.load()
	awaitCalls(t, a, b)
	killed := time.Now()
	a.end(syscall.SIGKILL)
	l.wait(150)
	eventually(t, "the dead one is left out", func() bool { return n.instances("closed") == 1 })
	l.wait(50)
	expect(t, "killed", 5, l.since(killed))
	expect(t, "afterwards", 0, l.wait(50))
	back := time.Now()
	a.again()
	awaitCalls(t, a)
	t.Logf("used again %v after it was started; %v retries", time.Since(back).Round(time.Millisecond), n.events("retry"))
	eventually(t, "both are well", func() bool { return n.instances("closed") == 2 })
	expect(t, "back", 0, l.since(back))
}

func TestRollingRestartFailsNoCall(t *testing.T) {
	t.Parallel()
	a, b, token := two(t)
	n := startNotes(t, token, static(a, b))
	l := n.load()
	awaitCalls(t, a, b)
	began := time.Now()
	for _, p := range []*process{a, b} {
		was := time.Now()
		p.end(syscall.SIGTERM)
		if code := p.cmd.ProcessState.ExitCode(); code != 0 {
			t.Errorf("exit code %d", code)
		}
		p.again()
		awaitCalls(t, p)
		t.Logf("stopped, started and used again within %v", time.Since(was).Round(time.Millisecond))
	}
	l.wait(50)
	l.stop()
	expect(t, "both restarted", 0, l.since(began))
	t.Logf("%v retries", n.events("retry"))
}

func TestOneOfTwoHangs(t *testing.T) {
	t.Parallel()
	a, b, token := two(t)
	n := startNotes(t, token, static(a, b))
	l := n.load()
	awaitCalls(t, a, b)
	stopped := time.Now()
	a.hang()
	eventually(t, "it is left out", func() bool { return n.instances("closed") == 1 })
	t.Logf("left out after %v", time.Since(stopped).Round(time.Millisecond))
	l.wait(100)
	expect(t, "one hangs", 0, l.since(stopped))
	a.signal(syscall.SIGCONT)
	awaitCalls(t, a)
	eventually(t, "both are well", func() bool { return n.instances("closed") == 2 })
	expect(t, "back", 0, l.wait(50))
}

func TestTheSlowOneGetsLess(t *testing.T) {
	t.Parallel()
	a, b, token := two(t)
	slow := proxytest.New(t, a.addr("grpc"))
	slow.Open()
	n := startNotes(t, token, "--auth.target=static:"+slow.Addr+","+b.addr("grpc"))
	l := n.load()
	awaitCalls(t, a, b)
	slow.Delay(50 * time.Millisecond)
	l.wait(100) // it takes some to be found out
	beforeA, beforeB := a.asked.Load(), b.asked.Load()
	responses := l.wait(200)
	ofA, ofB := a.asked.Load()-beforeA, b.asked.Load()-beforeB
	expect(t, "one is slow", 0, responses)
	t.Logf("the slow one got %d calls, the fast one %d", ofA, ofB)
	if ofB < 5*ofA || ofA == 0 {
		t.Errorf("the slow one got %d calls, the fast one %d", ofA, ofB)
	}
	slow.Delay(0)
	awaitCalls(t, a)
}

// While all are unavailable, callers receive that error at once, and notes stays ready: a restart
// of it would not help.
func TestAllInstancesUnavailable(t *testing.T) {
	t.Parallel()
	a, b, token := two(t)
	n := startNotes(t, token, static(a, b))
	l := n.load()
	awaitCalls(t, a, b)
	gone := time.Now()
	a.signal(syscall.SIGKILL)
	b.end(syscall.SIGKILL)
	<-a.ended
	_ = a.cmd.Wait()
	n.awaitOpen(t, 2)
	eventually(t, "metrics tell", func() bool { return n.instances("open") == 2 })
	n.isAway(t, l, gone)
	back := time.Now()
	a.again()
	b.again()
	l.awaitWork(t, back)
	awaitCalls(t, a, b)
	eventually(t, "both are well", func() bool { return n.instances("closed") == 2 })
	t.Logf("both are used again after %v", time.Since(back).Round(time.Millisecond))
	expect(t, "back", 0, l.wait(50))
}

// awaitOpen waits until the breakers of so many are open.
func (n *notes) awaitOpen(t *testing.T, instances int) {
	t.Helper()
	eventually(t, "breakers open", func() bool {
		status, detail := n.ready()
		if status != http.StatusOK {
			t.Errorf("not ready: %d", status)
		}
		return strings.Count(detail, "breaker open") == instances
	})
}

// isAway judges the responses since authd has gone.
func (n *notes) isAway(t *testing.T, l *load, gone time.Time) {
	t.Helper()
	_, detail := n.ready()
	t.Logf("breakers open after %v: %s", time.Since(gone).Round(time.Millisecond), detail)
	responses := l.wait(150)
	longest, p99 := slowest(responses)
	t.Logf("%d calls, 99%% refused within %v, the slowest %v", len(responses), p99, longest)
	if p99 > limit/5 {
		t.Errorf("refused within %v, want a small part of %v", p99, limit)
	}
	for _, a := range l.since(gone.Add(limit)) {
		if a.status != http.StatusServiceUnavailable || a.retryAfter < 1 {
			t.Errorf("%+v, want 503 with Retry-After", a)
		}
	}
	for _, a := range failures(l.since(gone)) {
		if a.status == http.StatusInternalServerError || a.status == 0 {
			t.Errorf("%+v", a)
		}
	}
}

// awaitWork waits for the first call that succeeds since authd is back: a few seconds.
func (l *load) awaitWork(t *testing.T, back time.Time) {
	t.Helper()
	worked := func() bool {
		responses := l.since(back)
		return len(failures(responses)) < len(responses)
	}
	eventually(t, "it works again", worked)
	took := time.Since(back)
	t.Logf("works again after %v", took.Round(time.Millisecond))
	if took > 8*time.Second {
		t.Errorf("works again after %v only", took)
	}
}

// Over NATS there is one instance, the broker, which tracks the instances of authd.
func TestOverNATS(t *testing.T) {
	t.Parallel()
	broker := startBroker(t)
	url := "nats://" + broker.addr("broker")
	a, b, token := two(t, "--nats.url="+url)
	n := startNotes(t, token, "--auth.transport=nats", "--auth.nats.url="+url)
	l := n.load()
	awaitCalls(t, a, b)

	killed := time.Now()
	a.end(syscall.SIGKILL)
	l.wait(100)
	expect(t, "an authd killed", 5, l.since(killed))
	back := time.Now()
	a.again()
	awaitCalls(t, a)
	expect(t, "it is back", 0, l.since(back))

	gone := time.Now()
	broker.end(syscall.SIGKILL)
	n.awaitOpen(t, 1)
	n.isAway(t, l, gone)
	back = time.Now()
	broker.start(brokerUp)
	l.awaitWork(t, back)
	awaitCalls(t, a, b)
	eventually(t, "it is well", func() bool { return n.instances("closed") == 1 })
	expect(t, "the broker is back", 0, l.wait(50))
}

// A service starts without its broker.
func TestStartsBeforeTheBroker(t *testing.T) {
	t.Parallel()
	broker := startBroker(t)
	url := "nats://" + broker.addr("broker")
	authd := startAuthd(t, "--nats.url="+url, "--database.url="+dbtest.SQLite(t))
	token := login(t, authd)
	broker.end(syscall.SIGKILL)
	n := startNotes(t, token, "--auth.transport=nats", "--auth.nats.url="+url)
	if a := n.list(); a.status != http.StatusServiceUnavailable || a.retryAfter < 1 {
		t.Errorf("%+v", a)
	}
	broker.start(brokerUp)
	eventually(t, "it works", func() bool { return n.list().status == http.StatusOK })
}

// Instances are added and removed by name.
func TestFoundInDNS(t *testing.T) {
	t.Parallel()
	a, b, token := two(t)
	names := disctest.StartDNS(t)
	tell := func(each ...*process) {
		names.Set(func(s *disctest.DNS) {
			s.SRVs, s.IPs = nil, []netip.Addr{netip.MustParseAddr("127.0.0.1")}
			for _, p := range each {
				_, text, _ := strings.Cut(p.addr("grpc"), ":")
				port, err := strconv.ParseUint(text, 10, 16)
				if err != nil {
					t.Error(err)
				}
				s.SRVs = append(s.SRVs, dnsmessage.SRVResource{Port: uint16(port), Target: dnsmessage.MustNewName("authd.test.")})
			}
		})
	}
	tell()
	n := startNotesBy(t, names.Addr(), token, "--auth.target=srv:_grpc._tcp.authd.test")
	if x := n.ask(http.MethodGet, "/v1/notes", n.token, "", 200*time.Millisecond); x.status < 503 {
		t.Errorf("nobody is known: %+v", x)
	}
	if status, detail := n.ready(); status != http.StatusOK || detail != "0 instances" {
		t.Errorf("nobody is known: %d, %q", status, detail)
	}
	tell(a)
	l := n.load()
	awaitCalls(t, a)
	tell(b)
	awaitCalls(t, b)
	moved := time.Now()
	a.end(syscall.SIGTERM)
	l.wait(50)
	expect(t, "moved to another", 0, l.since(moved))
}
