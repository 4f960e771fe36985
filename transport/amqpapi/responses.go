package amqpapi

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/chassi-go/chassi/internal/broker"
)

// responses sends responses over a shared connection that is separate from that of the
// consumers, so that a connection error caused by a reply address does not affect the consumers.
//
// RabbitMQ closes a connection that publishes to a direct reply-to address with an unknown node,
// even if the address is well formed. The first response to a node is therefore a trial, which uses
// a temporary connection. After the broker has confirmed the trial, responses to the node use the
// shared connection. After a trial whose connection the broker has closed because of the address,
// the client gets no further trial for the time trialBan, except for nodes that a response has
// reached before. All clients without user_id count as a single client.
//
// A response that may exceed the broker's max_message_size is also a trial. If the broker refuses
// it, the client gets a small error response instead.
type responses struct {
	link   *link
	sizes  *sizes
	url    string
	warn   func(msg string, args ...any)
	count  func(event string)
	trials chan response
	quit   chan struct{}
	trying sync.WaitGroup
	banned map[string]time.Time // by user, the end of the ban on trials; used only by tryAll
	proven nodes                // nodes that passed a trial on any channel; used only by tryAll

	mu      sync.Mutex
	channel *amqp.Channel // nil while there is no connection
	end     func()        // closes the connection
	back    chan struct{} // closed when there is a connection again
	known   nodes         // nodes that passed a trial on this channel
}

// nodes is a set of at most maxKnownNodes names of nodes. Additions to a nil or full set are
// ignored.
type nodes map[string]struct{}

func (n nodes) add(node string) {
	if n != nil && len(n) < maxKnownNodes {
		n[node] = struct{}{}
	}
}

func (n nodes) has(node string) bool {
	_, ok := n[node]
	return ok
}

// response is the response to a request, with its destination.
type response struct {
	to     replyTo
	user   string // the user of the request
	route  string
	result *broker.Response
	id     string // the correlation ID of the request
}

// publishing returns the message for m. If the broker is known to refuse the size of m.result,
// publishing first replaces m.result with a small error response.
func (a *responses) publishing(m *response) amqp.Publishing {
	if a.sizes.exceeds(len(m.result.Body)) {
		a.warn("AMQP: a response is larger than the broker's max_message_size", "bytes", len(m.result.Body),
			"max_message_size", a.sizes.limit.Load(), "route", m.route)
		m.result = m.result.Small()
	}
	p := publishing(m.result.Header, m.result.Body)
	p.CorrelationId = m.id
	return p
}

const (
	responsesPatience = 2 * time.Second // maximum wait for a connection, or for other trials
	trialTimeout      = 5 * time.Second // maximum time of one trial
	trialBan          = time.Minute     // time without trials after a trial with an invalid address
	maxKnownNodes     = 1000            // more nodes than any cluster has
	maxBanned         = 1000            // banned users; beyond that, an arbitrary ban is lifted
)

var (
	errResponsesBlocked = errors.New("the broker currently accepts no messages")
	errResponsesLost    = errors.New("the connection for responses is lost")
	errInterrupted      = errors.New("the connection for responses was lost while the response was sent")
	errBanned           = errors.New("an earlier reply address of this client was invalid")
	errTrialsFull       = errors.New("too many responses wait for a temporary connection")
)

func newResponses(c *Config, l *link, s *sizes, warn func(string, ...any)) *responses {
	a := &responses{
		link: l, sizes: s, url: c.Responses.URL, warn: warn, count: c.Observe,
		trials: make(chan response, c.MaxConcurrent), quit: make(chan struct{}), back: make(chan struct{}),
		banned: make(map[string]time.Time), proven: make(nodes),
	}
	l.use = a.use
	return a
}

func (a *responses) start(ctx context.Context) error {
	if err := a.link.start(ctx); err != nil {
		return err
	}
	a.trying.Go(a.tryAll)
	return nil
}

// stop sends the responses that wait for a trial, and disconnects.
func (a *responses) stop() {
	close(a.quit)
	a.trying.Wait()
	a.link.stop()
}

// use makes conn the shared connection. It returns an error if the account may not send responses.
// The returned channel is closed when the channel on conn is lost.
func (a *responses) use(conn *amqp.Connection) (<-chan struct{}, error) {
	if err := a.check(conn); err != nil {
		return nil, err
	}
	ch, err := conn.Channel()
	if err != nil {
		return nil, err //nolint:wrapcheck // the link says whose
	}
	lost := make(chan struct{})
	end := sync.OnceFunc(func() { a.drop(ch); close(lost) })
	closed := ch.NotifyClose(make(chan *amqp.Error, 1))
	a.link.running.Go(func() {
		a.sizes.refused(<-closed)
		end()
	})
	a.sizes.forget()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.channel, a.end, a.known = ch, end, make(nodes)
	close(a.back)
	return lost, nil
}

// check returns an error if the account of conn may not send responses. To find out, it publishes a
// message that the broker drops, because the direct reply-to name contains no address.
func (a *responses) check(conn *amqp.Connection) error {
	ctx, cancel := context.WithTimeout(context.Background(), trialTimeout)
	defer cancel()
	ch, err := conn.Channel()
	if err != nil {
		return err //nolint:wrapcheck // the link says whose
	}
	closed := ch.NotifyClose(make(chan *amqp.Error, 1))
	err = publishConfirmed(ctx, ch, "", directReplyTo, amqp.Publishing{})
	if err == nil {
		return ch.Close() //nolint:wrapcheck // the link says whose
	}
	if refusal := <-closed; refusal != nil && refusal.Code == amqp.AccessRefused {
		account := accountOf(a.url)
		return &setupError{fmt.Sprintf("responses: user %q may not write to the exchange amq.default; grant the permission: %s",
			account.user, account.grant(nothing, exactly("amq.default"), nothing)), refusal}
	}
	return err
}

// drop records that ch is lost, if it is the current channel. It also clears the known nodes,
// because one of them may be the cause of the loss.
func (a *responses) drop(ch *amqp.Channel) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.channel == ch {
		a.channel, a.known, a.back = nil, nil, make(chan struct{})
	}
}

// send sends m, or passes it on as a trial. If the connection is lost before m has been published,
// send retries once. A response that cannot be sent is counted and logged.
func (a *responses) send(m *response) {
	err := a.attempt(m)
	if errors.Is(err, errInterrupted) {
		err = a.attempt(m)
	}
	if err != nil {
		a.lost(m, err)
	}
}

func (a *responses) lost(m *response, err error) {
	a.count(EventResponseLost)
	a.warn("AMQP: a response is lost", "error", err.Error(), "route", m.route, "reply_to", short(m.to.address), "user_id", short(m.user))
}

func (a *responses) attempt(m *response) error {
	p := a.publishing(m)
	ch, end, known := a.current(m.to.node)
	switch {
	case ch == nil:
		return errResponsesLost
	case a.link.isBlocked():
		return errResponsesBlocked
	case known && a.sizes.fits(len(p.Body)):
		if err := ch.Publish("", m.to.address, false, false, p); err != nil {
			end()
			return fmt.Errorf("%w: %w", errInterrupted, err)
		}
		return nil
	}
	patience := time.NewTimer(responsesPatience)
	defer patience.Stop()
	select {
	case a.trials <- *m:
		return nil
	case <-patience.C:
		return errTrialsFull
	}
}

// current returns the channel on the shared connection, the function that ends it, and whether
// responses to node may use it. node is "" for a queue. If the channel is lost, current waits for a
// new channel for at most responsesPatience; if there is still none, ch is nil.
func (a *responses) current(node string) (ch *amqp.Channel, end func(), known bool) {
	for wait := true; ; wait = false {
		a.mu.Lock()
		ch, end = a.channel, a.end
		back := a.back
		known = node == "" || a.known.has(node)
		a.mu.Unlock()
		if ch != nil || !wait {
			return ch, end, known
		}
		patience := time.NewTimer(responsesPatience)
		select {
		case <-back:
		case <-patience.C:
		}
		patience.Stop()
	}
}

// tryAll sends the responses that need a trial, one after the other, until stop is called and no
// response waits for a trial.
func (a *responses) tryAll() {
	for {
		select {
		case m := <-a.trials:
			a.next(&m)
			continue
		default:
		}
		select {
		case m := <-a.trials:
			a.next(&m)
		case <-a.quit:
			return
		}
	}
}

// next sends m, a response that waited for a trial. It uses the shared connection if the node and
// the size are known by now, and otherwise makes a trial. Without a shared connection, or if the
// client is banned from the trial, m is lost.
func (a *responses) next(m *response) {
	switch ch, _, known := a.current(m.to.node); {
	case ch == nil:
		a.lost(m, errResponsesLost)
	case known && (a.sizes.fits(len(m.result.Body)) || a.sizes.exceeds(len(m.result.Body))):
		a.send(m)
	case !known && time.Now().Before(a.banned[m.user]) && !a.proven.has(m.to.node):
		a.lost(m, errBanned)
	default:
		a.try(m)
	}
}

// try sends m over a temporary connection, and records the result of this trial.
func (a *responses) try(m *response) {
	err := a.publishAlone(m)
	switch {
	case err == nil:
		a.learn(m.to.node)
		a.sizes.accept(len(m.result.Body))
		return
	case a.sizes.refused(err):
		a.next(m) // now a small response
		return
	}
	a.lost(m, err)
	if !hasCode(err, amqp.InternalError) {
		return // the broker is unavailable; the client is not banned
	}
	delete(a.proven, m.to.node) // the node has left the cluster
	for user, until := range a.banned {
		if time.Now().After(until) || len(a.banned) >= maxBanned {
			delete(a.banned, user)
		}
	}
	a.banned[m.user] = time.Now().Add(trialBan)
	a.count(EventReplyToInvalid)
}

func (a *responses) learn(node string) {
	a.proven.add(node)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.known.add(node)
}

func (a *responses) publishAlone(m *response) error {
	ctx, cancel := context.WithTimeout(context.Background(), trialTimeout)
	defer cancel()
	conn, err := a.link.dial(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.CloseDeadline(time.Now().Add(time.Second)) }()
	ch, err := conn.Channel()
	if err != nil {
		return err //nolint:wrapcheck // logged with its route
	}
	closed := ch.NotifyClose(make(chan *amqp.Error, 1)) // also closed with the connection
	if err = publishConfirmed(ctx, ch, "", m.to.address, a.publishing(m)); err == nil {
		return nil
	}
	select {
	case reason, ok := <-closed:
		if ok {
			return reason
		}
	case <-ctx.Done():
	}
	return err
}

// publishConfirmed sets ch to confirm mode, publishes p on it, and returns after the broker has
// confirmed the message. It returns an error if p cannot be published or the broker rejects the
// message, or if ctx is done first.
func publishConfirmed(ctx context.Context, ch *amqp.Channel, exchange, key string, p amqp.Publishing) error {
	if err := ch.Confirm(false); err != nil {
		return fmt.Errorf("enable confirm mode: %w", err)
	}
	confirmation, err := ch.PublishWithDeferredConfirmWithContext(ctx, exchange, key, false, false, p)
	if err != nil {
		return fmt.Errorf("publish to %s: %w", key, err)
	}
	ok, err := confirmation.WaitContext(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("publish to %s: no confirmation: %w", key, err)
	case !ok:
		return fmt.Errorf("publish to %s: %w", key, errRefused)
	default:
		return nil
	}
}
