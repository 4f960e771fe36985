package natsapi_test

import (
	"context"
	"errors"
	"math/rand"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/internal/worktest"
	"github.com/chassi-go/chassi/transport"
	"github.com/chassi-go/chassi/transport/natsapi"
)

// An attacker who knows when a client connected cannot compute where it waits for responses:
// the client library of NATS seeds the names of its inboxes with the time. The time stands
// still in the bubble, so the attacker knows it to the nanosecond.
func TestInboxesCannotBePredicted(t *testing.T) {
	t.Parallel()
	url := external(t)
	subject := "jobs.v1.Jobs.Do"
	prefix := "predict" + strconv.FormatInt(time.Now().UnixNano(), 36)
	server, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	replies := make(chan string, 10)
	if _, err := server.Subscribe(prefix+"."+subject, func(m *nats.Msg) {
		replies <- m.Reply
		_ = m.Respond([]byte("{}"))
	}); err != nil {
		t.Fatal(err)
	}
	settle(t, server)
	var seeds []int64
	synctest.Test(t, func(t *testing.T) {
		seeds = append(seeds, time.Now().UnixNano())
		caller := dial(t, natsapi.ClientConfig{URL: url, Prefix: prefix})
		defer caller.Close()
		c, err := client.New(worktest.Service(worktest.Succeed), caller)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if _, err := client.Invoke[worktest.Nothing](context.Background(), c, "Do", &worktest.Job{}); err != nil {
				t.Fatal(err)
			}
		}
		seeds = append(seeds, time.Now().UnixNano())
	})
	predicted := make(map[string]bool)
	for _, seed := range seeds {
		generator := rand.New(rand.NewSource(seed))
		for range 3 {
			predicted[token(generator.Int63())] = true
		}
	}
	seen := make(map[string]bool)
	for range 3 {
		reply := <-replies
		words := strings.Split(reply, ".")
		last := words[len(words)-1]
		if predicted[last] || seen[last] {
			t.Errorf("reply subject %s was predicted", reply)
		}
		if seen[last] = true; len(words) != 3 || len(words[1]) < 26 || len(last) < 26 {
			t.Errorf("reply subject %s, want two words of 128 bits", reply)
		}
	}
}

// token is how the client library of NATS spells a number.
func token(n int64) string {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	var text [8]byte
	for i := range text {
		text[i] = digits[n%62]
		n /= 62
	}
	return string(text[:])
}

// A response that comes after its caller has given up, twice, or to a subject that no call waits at,
// is dropped, and the next call gets its own.
func TestLateResponsesAreDropped(t *testing.T) {
	t.Parallel()
	url := external(t)
	prefix := "late" + strconv.FormatInt(time.Now().UnixNano(), 36)
	conn, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var mu sync.Mutex
	var late []*nats.Msg
	if _, err := conn.Subscribe(prefix+".jobs.v1.Jobs.Do", func(m *nats.Msg) {
		mu.Lock()
		defer mu.Unlock()
		if late = append(late, m); len(late) == 1 {
			return // the caller gives up
		}
		for _, m := range late {
			_ = m.Respond([]byte(`{}`))
			_ = m.Respond([]byte(`{"a":"lie"}`))
		}
	}); err != nil {
		t.Fatal(err)
	}
	settle(t, conn)
	c, err := client.New(worktest.Service(worktest.Succeed), dial(t, natsapi.ClientConfig{URL: url, Prefix: prefix}))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := client.Invoke[worktest.Nothing](ctx, c, "Do", &worktest.Job{}); chassi.ErrorOf(err).Code != chassi.DeadlineExceeded {
		t.Errorf("%v", err)
	}
	for range 3 {
		if _, err := client.Invoke[worktest.Nothing](t.Context(), c, "Do", &worktest.Job{}); err != nil {
			t.Error(err)
		}
	}
}

// A client holds a bounded number of calls that wait, and Close ends them.
func TestClientBoundsCallsInFlight(t *testing.T) {
	t.Parallel()
	url := external(t)
	prefix := "bound" + strconv.FormatInt(time.Now().UnixNano(), 36)
	conn, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	arrived := make(chan struct{}, 10)
	if _, err := conn.Subscribe(prefix+".jobs.v1.Jobs.Do", func(*nats.Msg) { arrived <- struct{}{} }); err != nil {
		t.Fatal(err)
	}
	settle(t, conn)
	caller := dial(t, natsapi.ClientConfig{URL: url, Prefix: prefix, MaxInFlight: 2})
	c, err := client.New(worktest.Service(worktest.Succeed), caller)
	if err != nil {
		t.Fatal(err)
	}
	results := make(chan error, 2)
	for range 2 {
		go func() {
			_, err := client.Invoke[worktest.Nothing](context.Background(), c, "Do", &worktest.Job{})
			results <- err
		}()
		<-arrived
	}
	if _, err := client.Invoke[worktest.Nothing](t.Context(), c, "Do", &worktest.Job{}); chassi.ErrorOf(err).Reason != "too_many_calls" {
		t.Errorf("a third call: %v", err)
	}
	caller.Close()
	for range 2 {
		if err := <-results; !errors.Is(err, nats.ErrConnectionClosed) {
			t.Errorf("after Close: %v", err)
		}
	}
}

// The inboxes in which JetStream answers cannot be predicted either.
func TestInboxesOfPublishersCannotBePredicted(t *testing.T) {
	t.Parallel()
	url := external(t)
	name := "predict" + strconv.FormatInt(time.Now().UnixNano(), 36)
	conn, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	spy, err := conn.SubscribeSync("work." + name)
	if err != nil {
		t.Fatal(err)
	}
	settle(t, conn)
	seen := make(map[string]bool)
	for range 2 {
		if err := publisher(t, natsapi.ClientConfig{URL: url}, transport.Queue{Name: name})("", &worktest.Job{}); err != nil {
			t.Fatal(err)
		}
		m, err := spy.NextMsg(10 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		words := strings.Split(m.Reply, ".")
		if len(words) < 3 || words[0] != "_INBOX" || len(words[1]) != 26 || seen[words[1]] {
			t.Errorf("reply subject %s, want _INBOX and 128 random bits", m.Reply)
			continue
		}
		seen[words[1]] = true
	}
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	for _, stream := range []string{name, name + "_dead"} {
		if err := js.DeleteStream(t.Context(), stream); err != nil {
			t.Error(err)
		}
	}
}
