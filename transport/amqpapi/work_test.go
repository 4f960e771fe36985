package amqpapi_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/internal/worktest"
	"github.com/chassi-go/chassi/middleware"
	"github.com/chassi-go/chassi/transport/amqpapi"
	"github.com/chassi-go/chassi/transport/message"
	amqp "github.com/rabbitmq/amqp091-go"
)

func consume(t *testing.T, c amqpapi.Config, q message.Queue, d *worktest.Done) *amqpapi.Server {
	t.Helper()
	c.Logger = quiet
	s := amqpapi.New(c, middleware.Recover())
	if err := s.Consume(q, worktest.Service(d.Do).Endpoint("Do")); err != nil {
		t.Fatal(err)
	}
	begin(t, s)
	return s
}

func publisher(t *testing.T, c amqpapi.ClientConfig, q message.Queue) func(id string, j *worktest.Job) error {
	t.Helper()
	p, err := dial(t, c).Publisher(q)
	if err != nil {
		t.Fatal(err)
	}
	e := worktest.Service(worktest.Succeed).Endpoint("Do")
	return func(id string, j *worktest.Job) error {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		return p.Publish(ctx, e, id, j)
	}
}

// Work is done; what may pass is tried again, what may not is put aside with the
// reason.
func TestWork(t *testing.T) {
	t.Parallel()
	url := broker(t)
	p := prefix(t, url, "jobs", "jobs.dead", "jobs.retry.10", "jobs.retry.20")
	q, d := message.Queue{Name: "jobs", Tries: 3, Delay: 10 * time.Millisecond}, worktest.NewDone()
	publish := publisher(t, amqpapi.ClientConfig{URL: url, Prefix: p}, q)
	for id, fail := range map[string]string{"fine": "", "twice": "twice", "always": "always", "permanent": "permanent", "panic": "panic"} {
		if err := publish(id, &worktest.Job{Fail: fail}); err != nil {
			t.Fatal(err)
		}
	}
	s := consume(t, amqpapi.Config{URL: url, Prefix: p}, q, d)
	d.Await(t, 1+3+3+1+3)
	stop(t, s)
	if stats := s.Stats(); stats.DeadLettered[p+".jobs"] != 3 || stats.InFlight != 0 {
		t.Errorf("%+v, want 3 dead letters and nothing in flight", stats)
	}

	d.Lock()
	defer d.Unlock()
	if got := fmt.Sprint(d.Times, d.Finished); got != "map[always:3 fine:1 panic:3 permanent:1 twice:3] map[fine:1 twice:1]" {
		t.Errorf("%s", got)
	}
	conn, err := amqp.Dial(url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	dead, err := ch.Consume(p+".jobs.dead", "", true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]string)
	for range 3 {
		m := <-dead
		got[m.MessageId] = fmt.Sprint(m.Headers[message.ReasonKey], " ", m.Headers[message.TriesKey])
	}
	if text := fmt.Sprint(got); text != "map[always:internal 3 panic:internal 3 permanent:bad_job 1]" {
		t.Errorf("put aside: %s", text)
	}
	if left, err := ch.QueueDeclarePassive(p+".jobs", true, false, false, false, nil); err != nil || left.Messages != 0 {
		t.Errorf("left in the queue: %+v, %v", left, err)
	}
}

// A stop in the middle of work finishes what has begun; the rest stays for the
// next instance.
func TestWorkDrains(t *testing.T) {
	t.Parallel()
	url := broker(t)
	p := prefix(t, url, "jobs", "jobs.dead", "jobs.retry.1000", "jobs.retry.2000", "jobs.retry.4000", "jobs.retry.8000")
	q, d := message.Queue{Name: "jobs"}, worktest.NewDone()
	publish := publisher(t, amqpapi.ClientConfig{URL: url, Prefix: p}, q)
	const jobs = 100
	for i := range jobs {
		if err := publish(strconv.Itoa(i), &worktest.Job{Number: i}); err != nil {
			t.Fatal(err)
		}
	}
	for round := 0; ; round++ {
		s := consume(t, amqpapi.Config{URL: url, Prefix: p, MaxConcurrent: 4}, q, d)
		d.Await(t, 1)
		stop(t, s)
		if handled, duplicates := d.Count(); handled == jobs {
			if duplicates > 0 {
				t.Errorf("%d duplicates in %d rounds", duplicates, round)
			}
			return
		}
		for len(d.Event) > 0 {
			<-d.Event
		}
	}
}

// A queue that is deleted under its consumer (basic.cancel) is declared again, and
// calls go on.
func TestQueueDeletedIsDeclaredAgain(t *testing.T) {
	t.Parallel()
	url := broker(t)
	p := prefix(t, url, "jobs.v1.Jobs")
	s := start(t, amqpapi.Config{URL: url, Prefix: p}, nil, worktest.Service(worktest.Succeed))
	defer stop(t, s)
	c, err := client.New(worktest.Service(worktest.Succeed), dial(t, amqpapi.ClientConfig{URL: url, Prefix: p}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Invoke[worktest.Nothing](t.Context(), c, "Do", &worktest.Job{}); err != nil {
		t.Fatal(err)
	}
	conn, err := amqp.Dial(url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ch.QueueDelete(p+".jobs.v1.Jobs.requests", false, false, false); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; {
		_, err := client.Invoke[worktest.Nothing](t.Context(), c, "Do", &worktest.Job{})
		if err == nil {
			break
		}
		if chassi.ErrorOf(err).Code != chassi.Unavailable || time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// What nobody serves is an error at once, not silence.
func TestUnroutable(t *testing.T) {
	t.Parallel()
	url := broker(t)
	p := prefix(t, url, "jobs.v1.Jobs")
	other := chassi.NewService("other.v1.Other", chassi.NewEndpoint("Do", worktest.Succeed, chassi.Public))
	defer stop(t, start(t, amqpapi.Config{URL: url, Prefix: p}, nil, worktest.Service(worktest.Succeed)))
	c, err := client.New(other, dial(t, amqpapi.ClientConfig{URL: url, Prefix: p}))
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.Invoke[worktest.Nothing](t.Context(), c, "Do", &worktest.Job{})
	if chassi.ErrorOf(err).Code != chassi.Unavailable || !strings.Contains(err.Error(), "no queue is bound") {
		t.Errorf("%v", err)
	}
}

// A broker that is not there is named, without the password in its URL.
func TestStartWithoutBroker(t *testing.T) {
	t.Parallel()
	addr := freePort(t)
	for url, want := range map[string]string{"amqp://me:hunter2@" + addr + "/": addr, "http://me:hunter2@" + addr: "scheme", "amqp://me:hunter2@[": "invalid"} {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		err := amqpapi.New(amqpapi.Config{URL: url, Logger: quiet}).Start(ctx)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// privateBroker is a RabbitMQ of the test's own, to be killed.
type privateBroker struct {
	addr string
	env  []string
	cmd  *exec.Cmd
}

func newBroker(t *testing.T) *privateBroker {
	t.Helper()
	const program = "/usr/lib/rabbitmq/bin/rabbitmq-server"
	if _, err := os.Stat(program); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("no RabbitMQ to start and kill: %v", err)
		}
		t.Skipf("no RabbitMQ to start and kill: %v", err)
	}
	dir := t.TempDir()
	b := &privateBroker{addr: freePort(t)}
	_, port, _ := net.SplitHostPort(b.addr)
	_, distPort, _ := net.SplitHostPort(freePort(t))
	b.env = append(os.Environ(), "HOME="+dir, "RABBITMQ_NODENAME=test"+strconv.FormatUint(rand.Uint64(), 36)+"@localhost", "RABBITMQ_NODE_PORT="+port,
		"RABBITMQ_NODE_IP_ADDRESS=127.0.0.1", "RABBITMQ_DIST_PORT="+distPort, "RABBITMQ_MNESIA_BASE="+dir+"/db", "RABBITMQ_LOG_BASE="+dir+"/log",
		"RABBITMQ_ENABLED_PLUGINS_FILE="+dir+"/plugins", "RABBITMQ_CONFIG_FILE="+dir+"/rabbit", "RABBITMQ_LOGS=-")
	b.start(t, program)
	t.Cleanup(func() { b.kill(t) })
	return b
}

func (b *privateBroker) start(t *testing.T, program string) {
	t.Helper()
	b.cmd = exec.Command(program)
	b.cmd.Env = b.env
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
}

// kill ends the broker and all that it started.
func (b *privateBroker) kill(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(-b.cmd.Process.Pid, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	_ = b.cmd.Wait()
}

// ready returns when the broker takes logins.
func (b *privateBroker) ready(t *testing.T) time.Time {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); {
		if conn, err := amqp.Dial("amqp://guest:guest@" + b.addr + "/"); err == nil {
			conn.Close()
			return time.Now()
		}
	}
	t.Fatalf("no RabbitMQ at %s", b.addr)
	return time.Time{}
}

// Fault 34 for the broker: it is killed with messages on the way and comes back.
// None that was confirmed is lost, duplicates are bounded by what was in flight,
// and with the id each is done once. CHASSI_SOAK=1 sends 10,000 and kills three
// times.
func TestBrokerKilled(t *testing.T) {
	t.Parallel()
	messages, kills := 2000, 1
	if os.Getenv("CHASSI_SOAK") != "" {
		messages, kills = 10_000, 3
	}
	b := newBroker(t)
	b.ready(t)
	url := "amqp://guest:guest@" + b.addr + "/"
	q, d := message.Queue{Name: "jobs", Delay: 10 * time.Millisecond, Tries: 10}, worktest.NewDone()
	const concurrent = 32
	s := consume(t, amqpapi.Config{URL: url, MaxConcurrent: concurrent}, q, d)
	publish := publisher(t, amqpapi.ClientConfig{URL: url}, q)

	confirmed := make(chan string, messages)
	var senders sync.WaitGroup
	for sender := range 8 {
		senders.Go(func() {
			for i := sender; i < messages; i += 8 {
				id := strconv.Itoa(i)
				for publish(id, &worktest.Job{Number: i}) != nil { // under the same id, until it is confirmed
				}
				confirmed <- id
			}
		})
	}
	for round := range kills {
		d.Await(t, messages/(kills+2))
		b.kill(t)
		for len(d.Event) > 0 {
			<-d.Event
		}
		b.start(t, b.cmd.Path)
		back := b.ready(t)
		<-d.Event
		took := time.Since(back)
		t.Logf("kill %d: work goes on %v after the broker takes logins again", round+1, took.Round(time.Millisecond))
		if took > 5*time.Second {
			t.Errorf("work goes on only after %v", took)
		}
	}
	senders.Wait()
	close(confirmed)
	deadline := time.After(60 * time.Second)
	for handled := 0; handled < messages; handled, _ = d.Count() {
		select {
		case <-d.Event:
		case <-deadline:
			t.Fatalf("%d of %d messages were done", handled, messages)
		}
	}
	stop(t, s)
	for id := range confirmed {
		if d.Finished[id] != 1 {
			t.Errorf("message %s was confirmed and done %d times", id, d.Finished[id])
		}
	}
	_, duplicates := d.Count()
	t.Logf("%d messages, %d kills: all done, %d duplicates of at most %d", messages, kills, duplicates, kills*(concurrent+8))
	if duplicates > kills*(concurrent+8) { // what was being worked on, and what was being published
		t.Errorf("%d duplicates, want at most %d", duplicates, kills*(concurrent+8))
	}
}

// A broker that has run out of memory takes no messages. Calls are refused at
// once instead of hanging, and go on when it has recovered.
func TestBlocked(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	b.ready(t)
	url := "amqp://guest:guest@" + b.addr + "/"
	defer stop(t, start(t, amqpapi.Config{URL: url}, nil, worktest.Service(worktest.Succeed)))
	c, err := client.New(worktest.Service(worktest.Succeed), dial(t, amqpapi.ClientConfig{URL: url}))
	if err != nil {
		t.Fatal(err)
	}
	call := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := client.Invoke[worktest.Nothing](ctx, c, "Do", &worktest.Job{})
		return err
	}
	if err := call(); err != nil {
		t.Fatal(err)
	}
	b.control(t, "set_vm_memory_high_watermark", "0.00001")
	until(t, "a call is refused because the broker takes no messages", func() bool {
		err := call()
		return err != nil && strings.Contains(err.Error(), "takes no messages") && chassi.ErrorOf(err).Code == chassi.Unavailable
	})
	b.control(t, "set_vm_memory_high_watermark", "0.9")
	until(t, "calls go on", func() bool { return call() == nil })
}

// control runs rabbitmqctl against the private broker.
func (b *privateBroker) control(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.Command("/usr/lib/rabbitmq/bin/rabbitmqctl", args...)
	cmd.Env = b.env
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("rabbitmqctl %v: %v\n%s", args, err, out)
	}
}

func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(40 * time.Second); !condition(); {
		if time.Now().After(deadline) {
			t.Fatalf("not within 40 s: %s", what)
		}
	}
}
