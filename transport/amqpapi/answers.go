package amqpapi

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// answers sends answers over a connection of its own, so that whatever the broker
// thinks of an address touches no consumer.
//
// RabbitMQ closes the connection of whoever publishes to a direct reply-to address
// that names an unknown node, however well it is formed. Therefore the first answer
// to a node is a trial: it goes over a connection made for it, and only when the
// broker has confirmed it the node is known and its answers go over the shared
// connection. A client whose address failed the trial gets no other one for a while, but
// for nodes that an answer has reached before: all clients without user_id are one.
type answers struct {
	link   *link
	url    string
	warn   func(msg string, args ...any)
	count  func(event string)
	trials chan answer
	quit   chan struct{}
	trying sync.WaitGroup
	banned map[string]time.Time // until when users get no trial; of tryAll alone
	proven nodes                // that passed a trial on any channel; of tryAll alone

	mu      sync.Mutex
	channel *amqp.Channel // nil while there is none
	end     func()        // gives its connection up
	back    chan struct{} // closed when there is one again
	known   nodes         // on this channel
}

// nodes are at most maxKnownNodes; what is added to nil is forgotten.
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

// answer is one that is to be sent.
type answer struct {
	to     replyTo
	user   string // whose request it answers
	route  string
	result amqp.Publishing
}

const (
	answersPatience = 2 * time.Second // for a lost connection to be back, or for room among the trials
	trialTimeout    = 5 * time.Second // for one trial
	trialBan        = time.Minute     // after a failed one
	maxKnownNodes   = 1000            // no cluster has as many
	maxBanned       = 1000            // users; without room the one that is served first is forgotten
)

var (
	errAnswersBlocked = errors.New("the broker accepts no messages at present")
	errAnswersLost    = errors.New("the connection for answers is lost")
	errInterrupted    = errors.New("the connection for answers was lost at that moment")
	errBanned         = errors.New("an earlier address of this client was invalid")
	errTrialsFull     = errors.New("too many answers wait for their node to be tried")
)

func newAnswers(c *Config, l *link, warn func(string, ...any)) *answers {
	a := &answers{
		link: l, url: c.AnswersURL, warn: warn, count: c.Observe,
		trials: make(chan answer, c.MaxConcurrent), quit: make(chan struct{}), back: make(chan struct{}),
		banned: make(map[string]time.Time), proven: make(nodes),
	}
	l.use = a.use
	return a
}

func (a *answers) start(ctx context.Context) error {
	if err := a.link.start(ctx); err != nil {
		return err
	}
	a.trying.Go(a.tryAll)
	return nil
}

// stop sends what waits, and disconnects.
func (a *answers) stop() {
	close(a.quit)
	a.trying.Wait()
	a.link.stop()
}

// use takes a new connection into use, if its account may send answers.
func (a *answers) use(conn *amqp.Connection) (<-chan struct{}, error) {
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
		<-closed //nolint:errcheck // whatever the reason
		end()
	})
	a.mu.Lock()
	defer a.mu.Unlock()
	a.channel, a.end, a.known = ch, end, make(nodes)
	close(a.back)
	return lost, nil
}

// check proves that the account may send answers, by a message that the broker drops:
// it goes to the name of direct reply-to without an address.
func (a *answers) check(conn *amqp.Connection) error {
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
		return &setupError{fmt.Sprintf("answers: user %q may not write to the exchange amq.default; grant it: %s",
			account.user, account.grant(nothing, exactly("amq.default"), nothing)), refusal}
	}
	return err
}

// drop marks a channel as lost. What was known of the nodes is to be learned again: one
// of them may have been the reason.
func (a *answers) drop(ch *amqp.Channel) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.channel == ch {
		a.channel, a.known, a.back = nil, nil, make(chan struct{})
	}
}

// send sends an answer, or counts and logs that it is lost. A second attempt is made
// when the connection was lost before the answer could be handed over.
func (a *answers) send(m *answer) {
	err := a.attempt(m)
	if errors.Is(err, errInterrupted) {
		err = a.attempt(m)
	}
	if err != nil {
		a.lost(m, err)
	}
}

func (a *answers) lost(m *answer, err error) {
	a.count(EventAnswerLost)
	a.warn("AMQP: an answer is lost", "error", err.Error(), "route", m.route, "reply_to", short(m.to.address), "user_id", short(m.user))
}

func (a *answers) attempt(m *answer) error {
	ch, end, known := a.current(m.to.node)
	switch {
	case ch == nil:
		return errAnswersLost
	case a.link.isBlocked():
		return errAnswersBlocked
	case known:
		if err := ch.Publish("", m.to.address, false, false, m.result); err != nil {
			end()
			return fmt.Errorf("%w: %w", errInterrupted, err)
		}
		return nil
	}
	patience := time.NewTimer(answersPatience)
	defer patience.Stop()
	select {
	case a.trials <- *m:
		return nil
	case <-patience.C:
		return errTrialsFull
	}
}

// current returns the channel, waiting for it if it is lost, and whether answers to the
// node, "" for a queue, may use it.
func (a *answers) current(node string) (ch *amqp.Channel, end func(), known bool) {
	for wait := true; ; wait = false {
		a.mu.Lock()
		ch, end = a.channel, a.end
		back := a.back
		known = node == "" || a.known.has(node)
		a.mu.Unlock()
		if ch != nil || !wait {
			return ch, end, known
		}
		patience := time.NewTimer(answersPatience)
		select {
		case <-back:
		case <-patience.C:
		}
		patience.Stop()
	}
}

// tryAll tries answers to unknown nodes, one after the other.
func (a *answers) tryAll() {
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

// next decides about one of them: its node may be known by now.
func (a *answers) next(m *answer) {
	switch ch, _, known := a.current(m.to.node); {
	case ch == nil:
		a.lost(m, errAnswersLost)
	case known:
		a.send(m)
	case time.Now().Before(a.banned[m.user]) && !a.proven.has(m.to.node):
		a.lost(m, errBanned)
	default:
		a.try(m)
	}
}

// try sends the answer over a connection of its own.
func (a *answers) try(m *answer) {
	err := a.publishAlone(m)
	if err == nil {
		a.learn(m.to.node)
		return
	}
	a.lost(m, err)
	if !hasCode(err, amqp.InternalError) {
		return // the broker is away, which is nobody's fault
	}
	delete(a.proven, m.to.node) // it has left the cluster
	for user, until := range a.banned {
		if time.Now().After(until) || len(a.banned) >= maxBanned {
			delete(a.banned, user)
		}
	}
	a.banned[m.user] = time.Now().Add(trialBan)
	a.count(EventReplyToInvalid)
}

func (a *answers) learn(node string) {
	a.proven.add(node)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.known.add(node)
}

func (a *answers) publishAlone(m *answer) error {
	ctx, cancel := context.WithTimeout(context.Background(), trialTimeout)
	defer cancel()
	conn, err := a.link.dial(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.CloseDeadline(time.Now().Add(time.Second)) }()
	closed := conn.NotifyClose(make(chan *amqp.Error, 1))
	ch, err := conn.Channel()
	if err != nil {
		return err //nolint:wrapcheck // logged with its route
	}
	if err = publishConfirmed(ctx, ch, "", m.to.address, m.result); err == nil {
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

// publishConfirmed puts the channel into confirm mode and returns once the broker has
// the message.
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
