package embedded

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// silent makes r serve the subject silent, to which nothing is answered.
func (r *running) silent(t *testing.T) {
	t.Helper()
	if err := r.Serve([]string{"silent"}, 0); err != nil {
		t.Fatal(err)
	}
	requests := r.inProcess(t, r.RequestOptions())
	if _, err := requests.Subscribe("from.*.silent", func(*nats.Msg) {}); err != nil {
		t.Fatal(err)
	}
	if err := requests.Flush(); err != nil {
		t.Fatal(err)
	}
}

// A client whose requests get no response fills the server's table of expected responses to its
// bound. Then it is disconnected, and refused until its entries have ended. Another client
// is served meanwhile.
func TestRequestsWithoutAResponseAreBounded(t *testing.T) {
	t.Parallel()
	r := start(t, Config{MaxUnansweredPerClient: 100, ResponseTimeout: 2 * time.Second})
	r.silent(t)
	conn, err := r.dial(t, "gateway")
	if err != nil {
		t.Fatal(err)
	}
	send := func(n int) {
		for range n { // nobody listens on the reply subject: the entries outlive the connection
			if conn.PublishRequest("silent", "_INBOX.nobody", nil) != nil {
				return
			}
		}
	}
	send(100)
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	if n := r.accounts.service.NumPendingAllResponses(); n != 100 {
		t.Fatalf("%d entries", n)
	}
	r.accounts.boundUnanswered()
	if conn.IsClosed() {
		t.Error("disconnected within its bound")
	}
	send(100)
	eventually(t, "it is disconnected", conn.IsClosed)
	if _, err := r.dial(t, "gateway"); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("connected again at once: %v", err)
	}
	r.serves(t, "reports")
	eventually(t, "it is admitted again", func() bool { _, err := r.dial(t, "gateway"); return err == nil })
	r.serves(t, "gateway")
	if n := r.accounts.service.NumPendingAllResponses(); n > 100 {
		t.Errorf("%d entries are left", n)
	}
	if log := r.log.String(); strings.Count(log, "too many requests without a response") != 1 || !strings.Contains(log, "client=gateway") {
		t.Errorf("not logged once:\n%s", log)
	}
}

// A client that floods the server and connects again as soon as it can adds no more entries
// after it has been disconnected than the server had read already.
func TestFloodWithoutResponsesIsCutOff(t *testing.T) {
	t.Parallel()
	r := start(t, Config{MaxUnansweredPerClient: 1000})
	r.silent(t)
	const alreadyRead = (64 << 10) / len("PUB silent _INBOX.nobody 0\r\n\r\n") // a buffer of the server
	over := make(chan struct{})
	var senders sync.WaitGroup
	var refused atomic.Int64
	senders.Go(func() {
		for {
			conn, err := r.dial(t, "gateway")
			if err != nil {
				refused.Add(1)
			}
			for err == nil {
				err = conn.PublishRequest("silent", "_INBOX.nobody", nil)
			}
			select {
			case <-over:
				return
			case <-time.After(time.Millisecond):
			}
		}
	})
	eventually(t, "it is refused", func() bool { return refused.Load() > 0 })
	before := r.accounts.service.NumPendingAllResponses()
	for range 20 {
		r.serves(t, "reports")
	}
	eventually(t, "it is refused again and again", func() bool { return refused.Load() > 100 })
	if after := r.accounts.service.NumPendingAllResponses(); after > before+alreadyRead {
		t.Errorf("%d entries, and %d while it is refused", before, after)
	}
	close(over)
	senders.Wait()
}

// The server expects the response to a call for longer than the longest deadline, and responses
// of the discovery for 5 seconds, for clients that are added later too. Its own default is
// two minutes.
func TestResponsesAreExpectedForABoundedTime(t *testing.T) {
	t.Parallel()
	r := start(t, Config{ResponseTimeout: 7 * time.Second})
	if err := r.Serve([]string{"long"}, time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := r.ServeStreams([]string{"stream"}, time.Second, 50*time.Second); err != nil {
		t.Fatal(err)
	}
	if _, err := r.credentials.Add("later"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the client is added", func() bool { return slices.Contains(r.accounts.names(), "later") })
	for _, name := range []string{"gateway", "reports", "later"} {
		for subject, want := range map[string]time.Duration{"echo": 7 * time.Second, "long": 65 * time.Second, "stream": 50 * time.Second, "stream.stream.*.*": 7 * time.Second, "$SRV.>": 5 * time.Second} {
			got, err := r.accounts.service.ServiceExportResponseThreshold(fmt.Sprintf("from.%s.%s", name, subject))
			if err != nil || got != want {
				t.Errorf("%s of %s: %v, %v, want %v", subject, name, got, err, want)
			}
		}
	}
}

// Entries are counted for each client only when one may be beyond its bound.
func TestUnansweredAreCountedWhenDue(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, c := range map[string]struct {
		refused map[string]int
		total   int
		at      time.Time
		want    bool
	}{
		"few":                      {nil, 10, now, false},
		"many":                     {nil, 11, now, true},
		"all of a refused client":  {map[string]int{"a": 50}, 60, now, false},
		"many of others":           {map[string]int{"a": 50}, 61, now, true},
		"a refused one, later":     {map[string]int{"a": 50}, 50, now.Add(time.Second), true},
		"none is refused, later":   {nil, 10, now.Add(time.Hour), false},
		"fewer than when counted":  {map[string]int{"a": 50}, 0, now, false},
		"many of several, refused": {map[string]int{"a": 50, "b": 50}, 110, now, false},
	} {
		u := unanswered{max: 10, refused: c.refused, counted: now}
		if got := u.due(c.total, c.at); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
