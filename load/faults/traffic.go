package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/auth"
	"github.com/chassi-go/chassi/load/accounts"
	"github.com/chassi-go/chassi/load/openloop"
)

// callTimeout is the timeout of each call.
const callTimeout = 8 * time.Second

// outcome classifies the result of a call.
type outcome uint8

const (
	good        outcome = iota
	unavailable         // temporarily refused, or no response: the call may be retried
	wrong               // an incorrect response, such as a valid token rejected or an internal error
)

func outcomeOf(err error) outcome {
	if err == nil {
		return good
	}
	if errors.Is(err, errNotReady) || errors.Is(err, errNoToken) {
		return unavailable
	}
	var e *chassi.Error
	if !errors.As(err, &e) { // of the admin listener
		return unavailable
	}
	switch e.Code {
	case chassi.Unavailable, chassi.ResourceExhausted, chassi.DeadlineExceeded, chassi.Aborted, chassi.Canceled:
		return unavailable
	default:
		return wrong
	}
}

// sample is the record of one call.
type sample struct {
	began, ended time.Time
	outcome      outcome
	err          error
}

var errNoToken = errors.New("no login has succeeded yet")

// traffic calls a node at low constant rates, regardless of the outcomes, and records the calls.
type traffic struct {
	node    *node
	clients *clients
	prefix  string // beginning of the addresses that sign up

	ctx     context.Context // ends with the traffic
	cancel  context.CancelFunc
	running sync.WaitGroup
	names   []string // names of the probes

	mu        sync.Mutex
	samples   map[string][]sample // by probe
	token     string
	readiness []reading
	stored    []string // addresses whose sign-up was acknowledged
	repeated  int      // sign-ups repeated after a failed attempt that may have been carried out
}

// reading is a readiness status and the time at which it was received.
type reading struct {
	at time.Time
	health
}

// newTraffic starts to call n with the clients c and returns the traffic. The addresses of all
// sign-ups begin with prefix.
func newTraffic(n *node, c *clients, prefix string) *traffic {
	t := &traffic{node: n, clients: c, prefix: prefix, samples: make(map[string][]sample)}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	t.every(4, probeLive, func(ctx context.Context, _ int) error { return n.liveness(ctx) })
	t.every(4, probeReady, t.askReadiness)
	t.every(5, probeKeys, func(ctx context.Context, _ int) error {
		_, err := c.http.JWKS(ctx, &auth.JWKSRequest{})
		return err
	})
	t.every(2, "login", t.logIn)
	t.every(8, "validate", func(ctx context.Context, _ int) error { return t.validate(ctx, c.http) })
	t.every(4, "gRPC", func(ctx context.Context, _ int) error { return t.validate(ctx, c.grpc) })
	t.every(3, "sign-up", t.signUp)
	if c.broker != nil {
		t.every(4, c.over, func(ctx context.Context, _ int) error { return t.validate(ctx, c.broker) })
		t.every(2, c.over+" sign-up", func(ctx context.Context, i int) error {
			return t.acknowledge(ctx, c.broker, fmt.Sprintf("%s-broker-%d@example.com", t.prefix, i))
		})
	}
	return t
}

// every starts to make calls at a rate, in calls per second, and to record them under the name
// probe. It returns immediately; the calls end with the traffic.
func (t *traffic) every(rate float64, probe string, call openloop.Call) {
	config := openloop.Config{Name: probe, Rate: rate, Duration: time.Hour, Workers: 64, Outstanding: 128, Timeout: callTimeout}
	t.names = append(t.names, probe)
	t.running.Go(func() {
		_, _ = openloop.Run(t.ctx, config, func(ctx context.Context, i int) error { // its result has no times
			began := time.Now()
			err := call(ctx, i)
			t.record(probe, sample{began, time.Now(), outcomeOf(err), err})
			return err
		})
	})
}

func (t *traffic) record(probe string, s sample) {
	if t.ctx.Err() != nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.samples[probe] = append(t.samples[probe], s)
}

// stop ends the traffic and waits until all calls have ended.
func (t *traffic) stop() {
	t.cancel()
	t.running.Wait()
}

func (t *traffic) askReadiness(ctx context.Context, _ int) error {
	h, err := t.node.readiness(ctx)
	if h.code != 0 {
		t.mu.Lock()
		t.readiness = append(t.readiness, reading{time.Now(), h})
		t.mu.Unlock()
	}
	return err
}

func (t *traffic) logIn(ctx context.Context, _ int) error {
	response, err := t.clients.http.Authenticate(ctx, &auth.AuthenticateRequest{Email: accounts.Email(0), Password: accounts.DefaultPassword})
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.token == "" { // the first one stays, so that it is older than the fault
		t.token = response.Token
	}
	return nil
}

func (t *traffic) validate(ctx context.Context, service *auth.Client) error {
	t.mu.Lock()
	token := t.token
	t.mu.Unlock()
	if token == "" {
		return errNoToken
	}
	_, err := service.ValidateToken(ctx, &auth.ValidateTokenRequest{Token: token})
	return err
}

// signUp creates an account with an address that no other call uses. Every second sign-up has an
// Idempotency-Key and is repeated until it is acknowledged and then once more, as if the client had
// lost the response.
func (t *traffic) signUp(ctx context.Context, i int) error {
	address := fmt.Sprintf("%s-%d@example.com", t.prefix, i)
	if i%2 == 0 {
		return t.acknowledge(ctx, t.clients.http, address)
	}
	key := context.WithValue(ctx, keyOf{}, address+"-key")
	err := t.acknowledge(key, t.clients.http, address)
	t.running.Go(func() { t.repeat(address, err) })
	return err
}

// acknowledge signs up an address and records the address if the sign-up is acknowledged.
func (t *traffic) acknowledge(ctx context.Context, service *auth.Client, address string) error {
	_, err := service.SignUp(ctx, &auth.SignUpRequest{Email: address, Password: accounts.DefaultPassword})
	if err == nil {
		t.mu.Lock()
		t.stored = append(t.stored, address)
		t.mu.Unlock()
	}
	return err
}

// repeat repeats the sign-up of an address with its Idempotency-Key until an attempt has succeeded,
// and then once more. err is the result of the first attempt. repeat stops early at a wrong
// response or when the traffic ends.
func (t *traffic) repeat(address string, err error) {
	if err != nil {
		t.mu.Lock()
		t.repeated++
		t.mu.Unlock()
	}
	for succeeded := err == nil; ; {
		select {
		case <-t.ctx.Done():
			return
		case <-time.After(500 * time.Millisecond):
		}
		ctx, cancel := context.WithTimeout(context.WithValue(t.ctx, keyOf{}, address+"-key"), callTimeout)
		err := t.acknowledge(ctx, t.clients.http, address)
		cancel()
		switch {
		case err == nil && succeeded:
			return
		case err == nil:
			succeeded = true
		case outcomeOf(err) == wrong:
			t.record("sign-up", sample{time.Now(), time.Now(), wrong, fmt.Errorf("repeat with the same idempotency key: %w", err)})
			return
		}
	}
}

// window returns the calls that began at or after from and before to, by probe.
func (t *traffic) window(from, to time.Time) map[string][]sample {
	t.mu.Lock()
	defer t.mu.Unlock()
	found := make(map[string][]sample)
	for probe, all := range t.samples {
		for _, s := range all {
			if !s.began.Before(from) && s.began.Before(to) {
				found[probe] = append(found[probe], s)
			}
		}
	}
	return found
}

// probes returns the names of all probes.
func (t *traffic) probes() []string { return t.names }

// slowest returns the duration of the slowest successful call that began at or after since.
func (t *traffic) slowest(since time.Time) (longest time.Duration) {
	for _, samples := range t.window(since, time.Now()) {
		for _, s := range samples {
			if s.outcome == good {
				longest = max(longest, s.ended.Sub(s.began))
			}
		}
	}
	return longest
}

// missing returns those of the given probes that do not work. A probe works if at least three of
// its calls began at or after since, and the last three of them succeeded.
func (t *traffic) missing(since time.Time, probes []string) (missing []string) {
	const enough = 3
	after := t.window(since, time.Now())
	for _, probe := range probes {
		samples := after[probe]
		if len(samples) < enough || slices.ContainsFunc(samples[len(samples)-enough:], func(s sample) bool { return s.outcome != good }) {
			missing = append(missing, probe)
		}
	}
	return missing
}

// readings returns the readiness statuses that were received at or after from and before to.
func (t *traffic) readings(from, to time.Time) (found []reading) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range t.readiness {
		if !r.at.Before(from) && r.at.Before(to) {
			found = append(found, r)
		}
	}
	return found
}
