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

// responses sends responses over a connection of its own, so that a connection error caused by a
// reply address does not affect consumers.
//
// RabbitMQ closes a connection that publishes to a direct reply-to address with an unknown
// node, even if the address is well formed. Therefore the first response to a node is a trial:
// it uses a separate connection, and after the broker has confirmed it, responses to the node
// use the shared connection. After a failed trial, a client gets no further trial for a while,
// except for nodes that a response has reached before. All clients without user_id count as
// one.
//
// A response that may exceed the broker's max_message_size is a trial, too; if the broker
// refuses it, the client gets a small error response.
type responses struct {
	link   *link
	sizes  *sizes
	url    string
	warn   func(msg string, args ...any)
	count  func(event string)
	trials chan response
	quit   chan struct{}
	trying sync.WaitGroup
	banned map[string]time.Time // by user, when it may get a trial again; used only by tryAll
	proven nodes                // nodes that passed a trial on any channel; used only by tryAll

	mu      sync.Mutex
	channel *amqp.Channel // nil while there is no connection
	end     func()        // closes the connection
	back    chan struct{} // closed when there is a connection again
	known   nodes         // nodes that passed a trial on this channel
}

// nodes is a set of at most maxKnownNodes names of nodes. Additions to a nil set are ignored.
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

// response is a response to send.
type response struct {
	to     replyTo
	user   string // the user of the request
	route  string
	result *broker.Response
	id     string // the correlation id
}

// publishing returns the message for a response. If the broker is known to refuse its size,
// publishing replaces the response by a small error.
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
	responsesPatience = 2 * time.Second // to wait for a lost connection, or for other trials
	trialTimeout      = 5 * time.Second // for one trial
	trialBan          = time.Minute     // after a failed trial
	maxKnownNodes     = 1000            // more than any cluster has
	maxBanned         = 1000            // users; beyond that the earliest ban to end is removed
)

var (
	errResponsesBlocked = errors.New("the broker currently accepts no messages")
	errResponsesLost    = errors.New("the connection for responses is lost")
	errInterrupted      = errors.New("the connection for responses was lost during the call")
	errBanned           = errors.New("an earlier reply address of this client was invalid")
	errTrialsFull       = errors.New("too many responses wait for the connection of their node")
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

// stop sends the waiting responses and disconnects.
func (a *responses) stop() {
	close(a.quit)
	a.trying.Wait()
	a.link.stop()
}

// use starts to use a new connection, if its account may send responses.
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

// check verifies that the account may send responses, with a message that the broker drops
// because its direct reply-to name has no address.
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
		return &setupError{fmt.Sprintf("responses: user %q may not write to the exchange amq.default; grant it: %s",
			account.user, account.grant(nothing, exactly("amq.default"), nothing)), refusal}
	}
	return err
}

// drop marks a channel as lost. The known nodes are cleared, because one of them may have been
// the cause.
func (a *responses) drop(ch *amqp.Channel) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.channel == ch {
		a.channel, a.known, a.back = nil, nil, make(chan struct{})
	}
}

// send sends a response, or counts and logs that it is lost. It retries once if the connection
// was lost before the response was published.
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

// current returns the channel, the function that ends it, and whether responses to the node ("" for
// a queue) may use it. If the channel is lost, current waits for a new channel for at most
// responsesPatience; ch is nil if there is none.
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

// tryAll sends trials, for unknown nodes and unknown sizes, one after the other.
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

// next sends one waiting response: as a trial, or over the shared connection if its node and size
// are known by now.
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

// try sends the response over a separate connection.
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

// publishConfirmed publishes p on ch, which it sets to confirm mode, and returns after the broker has
// confirmed the message.
func publishConfirmed(ctx context.Context, ch *amqp.Channel, exchange, key string, p amqp.Publishing) error {
	if err := ch.Confirm(false); err != nil {
		return fmt.Errorf("confirm mode: %w", err)
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
