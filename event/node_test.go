package event_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/event"
	"github.com/chassi-go/chassi/event/amqpevents"
	"github.com/chassi-go/chassi/event/natsevents"
	"github.com/chassi-go/chassi/internal/setclock"
	"github.com/chassi-go/chassi/job"
	"github.com/chassi-go/chassi/transport/amqpapi"
	"github.com/chassi-go/chassi/transport/natsapi"
)

// nodeVariable is the variable of the environment with the description of a node, which is a
// process of the test program.
const nodeVariable = "EVENT_TEST_NODE"

// setup is what the nodes of a test share.
type setup struct {
	From, To string // URLs of the databases of publishers and subscribers, the same without a broker
	Broker   string // URL of the broker; "" for none
	Prefix   string

	program string // of the nodes; "" for that of the test
	clock   string // file with the clock of a node, see [steppedProgram]
}

// role is what a node does.
type role string

const (
	publishes  role = "publishes"
	relays     role = "relays"
	subscribes role = "subscribes"
	ticks      role = "ticks"  // subscribes, and has a job that runs each second
	blocks     role = "blocks" // subscribes, and handles no event to its end
	serves     role = "serves" // NATS with JetStream at the address Broker, in the folder From
)

// description describes a node.
type description struct {
	setup

	Role  role
	Lease time.Duration
}

// runNode is the main function of a node, which works until it is killed.
func runNode() int {
	var d description
	err := json.Unmarshal([]byte(os.Getenv(nodeVariable)), &d)
	if err == nil {
		err = d.run(context.Background())
	}
	_, _ = fmt.Fprintln(os.Stderr, d.Role, err)
	return 1
}

func (d *description) run(ctx context.Context) error {
	topic := event.NewTopic[order](topicName)
	switch d.Role {
	case publishes:
		return d.publish(ctx, topic)
	case serves:
		return serveNATS(d.Broker, d.From)
	}
	url := d.From
	if d.Role != relays {
		url = d.To
	}
	db, err := database.Open(ctx, database.Config{URL: url, QueryTimeout: patience, MaxOpen: 5})
	if err != nil {
		return err
	}
	o := event.Options{Logger: quiet, Lease: d.Lease, Poll: 50 * time.Millisecond}
	if o.Backend, err = d.backend(); err != nil {
		return err
	}
	s := event.NewServer(db, o)
	switch d.Role {
	case blocks:
		err = s.Add(event.Subscribe(topic, "sub", func(context.Context, *order) error { select {} }))
	case subscribes, ticks:
		err = s.Add(event.Subscribe(topic, "sub", effect, event.HoldKey, event.Transactional, event.Tries(1000), event.Delay(50*time.Millisecond)))
	}
	jobs := job.NewServer(db, job.Options{Logger: quiet, Engine: s.Engine()})
	if d.Role == ticks {
		err = errors.Join(err, jobs.Add(nil, tick(db)))
	}
	for err = errors.Join(err, s.Publishes(topic)); err == nil; {
		err = s.Start(ctx)
		if err == nil && d.Role == ticks {
			err = jobs.Start(ctx)
		}
		if err == nil {
			select {} // until it is killed
		}
		if strings.Contains(err.Error(), "cannot be used") { // unavailable, as package standard does
			<-time.After(100 * time.Millisecond)
			err = nil
		}
	}
	return err
}

func (s *setup) backend() (event.Backend, error) {
	switch {
	case strings.HasPrefix(s.Broker, "nats:"):
		return natsevents.Open(natsapi.ClientConfig{URL: s.Broker, Prefix: s.Prefix, Logger: quiet})
	case s.Broker != "":
		return amqpevents.Open(amqpapi.ClientConfig{URL: s.Broker, Prefix: s.Prefix, Logger: quiet}), nil
	}
	return nil, nil
}

// serveNATS runs a NATS server, which stores messages in a folder.
func serveNATS(url, folder string) error {
	var port int
	if _, err := fmt.Sscanf(url, "nats://127.0.0.1:%d", &port); err != nil {
		return err
	}
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: port, JetStream: true, StoreDir: folder, NoSigs: true, NoLog: true})
	if err != nil {
		return err
	}
	s.Start()
	s.WaitForShutdown()
	return errors.New("the server has ended")
}

// start starts a node with a role.
func (s *setup) start(t testing.TB, r role) *exec.Cmd {
	t.Helper()
	return s.startWith(t, r, 2*time.Second)
}

func (s *setup) startWith(t testing.TB, r role, lease time.Duration) *exec.Cmd {
	t.Helper()
	text, err := json.Marshal(description{*s, r, lease})
	must(t, err)
	program := s.program
	if program == "" {
		program, err = os.Executable()
		must(t, err)
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), nodeVariable+"="+string(text), setclock.Variable+"="+s.clock)
	cmd.Stderr = os.Stderr
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() }) // for a test that failed
	return cmd
}

// kill sends SIGKILL.
func kill(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	must(t, cmd.Process.Kill())
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.Exited() {
		t.Errorf("the node ended by itself: %v", err)
	}
}
