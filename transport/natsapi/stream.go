package natsapi

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/broker"
	"github.com/chassi-go/chassi/transport"
)

// The headers of the messages of a stream, which the documentation of the package describes.
const (
	kindKey    = "Stream-Kind"
	seqKey     = "Stream-Seq"
	controlKey = "Stream-Control"
)

// The values of kindKey: first those that the server sends, then those that the client sends.
const (
	kindOpen      = "open"
	kindItem      = "item"
	kindHeartbeat = "heartbeat"
	kindEnd       = "end"
	kindError     = "error"

	kindRead   = "read"
	kindCancel = "cancel"
)

// The credit of a client. The server sends no further item while either limit is reached.
const (
	maxUnread      = 64      // number of items that were sent and not read
	maxUnreadBytes = 1 << 20 // bytes in these items, which the last item may exceed
)

const (
	// silentIntervals is the number of heartbeat intervals without a message after which a stream
	// ends.
	silentIntervals = 3
	// streamSlack is the additional time for which a NATS server keeps a silent stream.
	streamSlack = 5 * time.Second
)

// controlWord is the word before the IDs of the instance and of the stream in a control subject.
const controlWord = "stream"

var (
	errClientLeft   = chassi.NewError(chassi.Canceled, "canceled", "The client has left the stream")
	errClientSilent = chassi.NewError(chassi.Canceled, "client_silent", "The client of the stream has sent no message in time")
)

// parseSeq returns the number in text, a value of the header seqKey, and reports whether text is
// valid.
func parseSeq(text string) (int64, bool) {
	n, err := strconv.ParseUint(text, 10, 63)
	return int64(n), err == nil
}

// outgoingStreams holds the open streams of a server.
type outgoingStreams struct {
	instance string         // ID of the server; the word before the stream's ID in a control subject
	running  sync.WaitGroup // of the goroutines that make the calls

	mu   sync.Mutex
	byID map[string]*outgoing // by ID, the last word of the control subject
}

func (s *outgoingStreams) init() {
	s.instance, s.byID = rand.Text(), make(map[string]*outgoing)
}

func (s *outgoingStreams) add(o *outgoing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byID[o.id] = o
}

func (s *outgoingStreams) remove(o *outgoing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byID, o.id)
}

func (s *outgoingStreams) get(id string) *outgoing {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byID[id]
}

// subscribeControl subscribes to the control subjects of this instance's streams of the endpoint
// with the given subject. client is a name, "*" or "", as for subscribeAll. The subscription lasts
// as long as conn, because streams may end after the server has stopped accepting requests.
func (s *Server) subscribeControl(conn *nats.Conn, client, subject string) error {
	base := subject + "." + controlWord + "." + s.outgoing.instance
	full := base + ".*"
	if client != "" {
		full = fromPrefix + client + "." + full
	}
	sub, err := conn.Subscribe(full, func(m *nats.Msg) {
		before, id := cutLast(m.Subject)
		name := strings.TrimPrefix(strings.TrimSuffix(strings.TrimSuffix(before, base), "."), fromPrefix)
		s.control("nats:"+name, id, m.Header)
	})
	if err == nil {
		err = sub.SetPendingLimits(maxPendingMessages, maxPendingBytes)
	}
	if err != nil {
		return fmt.Errorf("natsapi: subscribe to %s: %w", full, err)
	}
	return nil
}

// cutLast returns the parts of subject before and after its last dot.
func cutLast(subject string) (before, last string) {
	i := strings.LastIndexByte(subject, '.')
	return subject[:max(i, 0)], subject[i+1:]
}

// control handles a message with the headers h that the client peerName has sent to control the
// stream with the given ID. It drops malformed messages and messages about a stream of another
// client.
func (s *Server) control(peerName, id string, h nats.Header) {
	o := s.outgoing.get(id)
	if o == nil || o.arrival.client.peerName != peerName {
		return
	}
	switch header(h).Get(kindKey) {
	case kindRead:
		if n, ok := parseSeq(header(h).Get(seqKey)); ok {
			o.acknowledge(n)
		}
	case kindCancel:
		o.admitted.End(errClientLeft)
	}
}

// outgoing is a stream that a server sends.
type outgoing struct {
	server  *Server
	arrival arrival
	id      string
	opened  func() // releases the worker; may be called several times
	took    time.Duration

	ctx      context.Context //nolint:containedctx // of the stream, set by Begin
	admitted *transport.OpenStream

	credit chan struct{} // receives a value when the client has read items
	timer  *time.Timer   // timer of the next heartbeat; nil before Open

	mu          sync.Mutex // held while a message is published, so that messages are sent in order
	ended       bool
	sent, read  int64            // numbers of items that were sent and that the client has read
	sizes       [maxUnread]int32 // sizes of the items that were sent and not read
	unreadBytes int
	heard       time.Time   // time of the last "read" of the client; before the first, of Open
	spoke       time.Time   // time of the last message to the client
	header      nats.Header // headers of an item, reused
}

// serveStream makes the call of a stream in a separate goroutine. It returns when the stream is
// open, or when the call has ended without opening it. Until then, the call counts toward
// [Config].MaxConcurrent.
func (s *Server) serveStream(a arrival) {
	opened := make(chan struct{})
	o := &outgoing{
		server: s, arrival: a, id: rand.Text(), opened: sync.OnceFunc(func() { close(opened) }),
		credit: make(chan struct{}, 1), header: make(nats.Header, 3),
	}
	a.endpoint.calls.Acquire()
	s.outgoing.running.Go(func() {
		defer a.endpoint.calls.Release()
		defer o.opened()
		o.finish(a.endpoint.route.HandleStream(s.base, request(a), o))
	})
	<-opened
}

var _ broker.Sender = (*outgoing)(nil)

// Begin admits the stream and returns its context. It returns an error if too many streams are
// open, or if the server is stopping and the stream is not [chassi.Finite].
func (o *outgoing) Begin(ctx context.Context, call *chassi.Call) (context.Context, error) {
	ctx, admitted, err := o.server.streams.Open(ctx, call)
	o.ctx, o.admitted = ctx, admitted
	return ctx, err //nolint:wrapcheck // is the response
}

// Open sends the first message of the stream, with the metadata of the response, and starts the
// timer of the heartbeats.
func (o *outgoing) Open(metadata transport.Pairs) error {
	every := o.server.streams.Config().Heartbeat
	h := headerOf(metadata)
	h[controlKey] = []string{controlWord + "." + o.server.outgoing.instance + "." + o.id}
	h[transport.HeartbeatKey] = []string{strconv.FormatInt(every.Milliseconds(), 10)}
	o.server.outgoing.add(o)
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.publish(kindOpen, 0, h, []byte(kindOpen)); err != nil {
		return fmt.Errorf("natsapi: open a stream of %s: %w", o.arrival.endpoint.route.Name(), err)
	}
	o.heard, o.took = o.spoke, time.Since(o.arrival.at)
	o.timer = time.AfterFunc(every, o.beat)
	o.opened()
	return nil
}

// publish sends a message of the given kind with the number seq. The caller must hold o.mu.
func (o *outgoing) publish(kind string, seq int64, h nats.Header, body []byte) error {
	conn := o.server.conns.Load().responses
	if !conn.IsConnected() { // its buffer is for the responses to calls
		return errUnavailable.WithCause(nats.ErrDisconnected)
	}
	h[kindKey], h[seqKey] = []string{kind}, []string{strconv.FormatInt(seq, 10)}
	o.spoke = time.Now()
	return conn.PublishMsg(&nats.Msg{Subject: o.arrival.msg.Reply, Header: h, Data: body}) //nolint:wrapcheck // the caller looks at it
}

// Send sends an item, after it has waited until the client has credit. It returns an error, and
// ends the stream, if the item is too large, if the client does not get credit in time, or if the
// connection is lost. It also returns an error if the stream ends first.
func (o *outgoing) Send(contentType string, body []byte) error {
	err := o.server.streams.Fits(len(body))
	if err == nil {
		err = o.await()
	}
	if err == nil {
		err = o.sendItem(contentType, body)
	}
	if err != nil {
		o.admitted.End(err)
	}
	return err //nolint:wrapcheck // is the response
}

func (o *outgoing) sendItem(contentType string, body []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.header[broker.ContentTypeKey] = []string{contentType}
	switch err := o.publish(kindItem, o.sent+1, o.header, body); {
	case errors.Is(err, nats.ErrMaxPayload):
		return transport.ErrItemTooLarge.WithCause(fmt.Errorf("the item, a body of %d bytes and headers, is larger than the NATS server's max_payload: %w", len(body), err))
	case err != nil:
		return err
	}
	o.sizes[o.sent%maxUnread] = int32(len(body))
	o.sent++
	o.unreadBytes += len(body)
	return nil
}

// await waits until the client has credit. It returns [transport.ErrStalled] after
// [transport.StreamConfig].SendTimeout, and an error if the stream ends first.
func (o *outgoing) await() error {
	if o.mayGo() {
		return context.Cause(o.ctx) //nolint:wrapcheck // is the response
	}
	limit := time.NewTimer(o.server.streams.Config().SendTimeout)
	defer limit.Stop()
	for {
		select {
		case <-o.credit:
			if o.mayGo() {
				return nil
			}
		case <-o.ctx.Done():
			return context.Cause(o.ctx) //nolint:wrapcheck // is the response
		case <-limit.C:
			return transport.ErrStalled
		}
	}
}

func (o *outgoing) mayGo() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.sent-o.read < maxUnread && o.unreadBytes < maxUnreadBytes
}

// acknowledge records that the client is alive and has read n items. It does nothing if n is
// greater than the number of items that were sent.
func (o *outgoing) acknowledge(n int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if n > o.sent {
		return
	}
	o.heard = time.Now()
	if n <= o.read {
		return
	}
	for ; o.read < n; o.read++ {
		o.unreadBytes -= int(o.sizes[o.read%maxUnread])
	}
	select {
	case o.credit <- struct{}{}:
	default:
	}
}

// beat sends a heartbeat if the server has sent no message for one heartbeat interval. It ends the
// stream if the client has sent no valid "read" for three intervals.
func (o *outgoing) beat() {
	every := o.server.streams.Config().Heartbeat
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended || o.ctx.Err() != nil {
		return
	}
	silence := time.Since(o.heard)
	if silence >= silentIntervals*every {
		o.admitted.End(errClientSilent)
		return
	}
	if time.Since(o.spoke) >= every {
		_ = o.publish(kindHeartbeat, o.sent, make(nats.Header, 2), []byte(kindHeartbeat)) // while disconnected none is sent
		o.spoke = time.Now()
	}
	o.timer.Reset(max(min(every-time.Since(o.spoke), silentIntervals*every-silence), time.Millisecond))
}

// finish sends the last message of the stream: an end, or the error in response, the result of the
// call.
func (o *outgoing) finish(response *broker.Response) {
	o.server.outgoing.remove(o)
	if o.admitted != nil {
		o.admitted.Close()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = true
	kind, seq := kindEnd, strconv.FormatInt(o.sent, 10)
	if o.timer == nil {
		o.took = time.Since(o.arrival.at)
	} else {
		o.timer.Stop()
	}
	if response.Err != nil {
		kind = kindError
	} else {
		response = &broker.Response{}
	}
	response.Header.Set(kindKey, kind)
	response.Header.Set(seqKey, seq)
	o.server.respond(o.arrival.endpoint, o.arrival.msg, response, o.took)
}
