package natsapi

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/broker"
	"github.com/chassi-go/chassi/transport"
)

// BindStream implements [client.Streamer]. [ClientConfig.Timeout] limits the time until the
// stream is open. The client keeps at most 64 items of a stream that the caller has not read, and
// accepts no further item while these have 1 MiB or more. If a message is lost, the stream ends with
// [chassi.DataLoss].
func (c *Client) BindStream(e *chassi.Endpoint) (*chassi.Binding, chassi.Handler, error) {
	if err := transport.CheckServed(e, "nats"); err != nil {
		return nil, nil, err //nolint:wrapcheck // says which endpoint
	}
	remote, err := broker.NewRemote(e)
	if err != nil {
		return nil, nil, err
	}
	subject := subjectOf(c.config.Prefix, e)
	return bindingOf(e), func(ctx context.Context, call *chassi.Call) error { return c.stream(ctx, call, subject, remote) }, nil
}

var (
	errLost      = chassi.NewError(chassi.DataLoss, "stream_gap", "Messages of the stream were lost")
	errMalformed = chassi.NewError(chassi.Internal, "malformed_response", "The service's response is malformed")
	errNotOpened = errors.New("natsapi: the stream was not opened in time")
)

// stream makes the call of a stream, and passes its items on until its end.
func (c *Client) stream(ctx context.Context, call *chassi.Call, subject string, remote *broker.Remote) error {
	in, err := c.open(ctx, call, subject, remote)
	if err != nil {
		return err
	}
	defer c.leave(in)
	opening := time.NewTimer(c.config.Timeout)
	defer opening.Stop()
	for {
		select {
		case m, ok := <-in.messages:
			if !ok {
				return in.reason(ctx)
			}
			opening.Stop()
			if more, err := in.pass(ctx, call, remote, m); !more {
				return err
			}
		case <-ctx.Done():
			return broker.Unreachable(ctx, ctx.Err())
		case <-opening.C:
			return chassi.ErrorOf(context.DeadlineExceeded).WithCause(errNotOpened)
		}
	}
}

// open sends the request, and returns the stream that receives the replies.
func (c *Client) open(ctx context.Context, call *chassi.Call, subject string, remote *broker.Remote) (*incoming, error) {
	if !c.conn.IsConnected() {
		return nil, broker.Unreachable(ctx, errors.Join(nats.ErrDisconnected, c.trouble.last(nil)))
	}
	m, err := newMessage(ctx, call, subject, remote)
	if err != nil {
		return nil, err
	}
	m.Reply = c.inbox.prefix + rand.Text()
	in := &incoming{conn: c.conn, subject: subject, reply: m.Reply, messages: make(chan *nats.Msg, maxUnread+2)}
	if err = c.inbox.listen(m.Reply, in); err == nil {
		if err = c.conn.PublishMsg(m); err != nil {
			c.inbox.unlisten(m.Reply)
		}
	}
	switch {
	case errors.Is(err, nats.ErrMaxPayload):
		return nil, transport.ErrBodyTooLarge.WithCause(err)
	case err != nil:
		return nil, broker.Unreachable(ctx, err)
	}
	return in, nil
}

// leave ends a stream that the caller no longer reads. A stream that is not open yet is cancelled
// when its first message arrives, for which the client waits for [ClientConfig.Timeout].
func (c *Client) leave(in *incoming) {
	if in.leave() {
		c.inbox.unlisten(in.reply)
		return
	}
	time.AfterFunc(c.config.Timeout, func() { c.inbox.unlisten(in.reply) })
}

// incoming is a stream that a client receives.
type incoming struct {
	conn           *nats.Conn
	subject, reply string         // of the request
	messages       chan *nats.Msg // except heartbeats; closed at the end

	mu          sync.Mutex
	control     string // the control subject, "" before the stream is open
	ended       bool   // whether messages is closed
	finished    bool   // whether the server has ended the stream
	err         error  // why the stream ended before the server ended it
	last        int64  // the number of the last item
	unreadBytes int
	heard       time.Time     // when the last message arrived
	patience    time.Duration // maximum time without a message
	timer       *time.Timer   // of the next heartbeat, nil before the stream is open

	read, readBytes int64 // items that the caller has taken, and their bytes
	told, toldBytes int64 // values of read and readBytes that the server knows
}

// receive handles a message of the server. It does not block.
func (in *incoming) receive(m *nats.Msg) {
	in.mu.Lock()
	defer in.mu.Unlock()
	kind := m.Header.Get(kindKey)
	switch {
	case in.ended && in.control == "" && kind == kindOpen: // the caller has left meanwhile
		if in.setControl(m) == nil {
			in.say(kindCancel)
		}
		return
	case in.ended:
		return
	}
	in.heard = time.Now()
	if err := in.check(kind, m); err != nil {
		in.end(err)
		return
	}
	if kind == kindHeartbeat {
		return
	}
	select {
	case in.messages <- m:
	default:
		in.end(errMalformed.WithCause(errCredit))
	}
	if in.finished {
		in.end(nil)
	}
}

var errCredit = errors.New("natsapi: the server sent more than the client's credit")

// check records a message. It returns an error if the message is malformed, exceeds the client's
// credit, or does not follow the messages before it.
func (in *incoming) check(kind string, m *nats.Msg) error {
	seq, ok := parseSeq(m.Header.Get(seqKey))
	switch {
	case kind == kindError, kind == "": // an error, or the message of a NATS server without responders
		in.finished = true
		return nil
	case !ok:
		return errMalformed.WithCause(fmt.Errorf("natsapi: a message of a stream has an invalid header %s: %.32q", seqKey, m.Header.Get(seqKey)))
	case kind == kindItem && seq == in.last+1 && in.control != "":
		if in.unreadBytes >= maxUnreadBytes {
			return errMalformed.WithCause(errCredit)
		}
		in.last = seq
		in.unreadBytes += len(m.Data)
		return nil
	case kind == kindItem || seq != in.last:
		return errLost.WithCause(fmt.Errorf("natsapi: a message of a stream, %.16q, has the number %d; the last item has %d", kind, seq, in.last))
	case kind == kindOpen && in.control == "":
		return in.begin(m)
	case kind == kindEnd:
		in.finished = true
		return nil
	case kind == kindHeartbeat && in.control != "":
		return nil
	default:
		return errMalformed.WithCause(fmt.Errorf("natsapi: a message of a stream has an invalid header %s: %.32q", kindKey, kind))
	}
}

// begin records that the stream is open, and begins the heartbeats.
func (in *incoming) begin(m *nats.Msg) error {
	if err := in.setControl(m); err != nil {
		return err
	}
	in.patience = transport.StreamPatience(header(m.Header))
	in.timer = time.AfterFunc(in.patience/silentIntervals, in.beat)
	return nil
}

// setControl sets the control subject. It begins with the subject of the request, so that a service
// cannot make its clients publish elsewhere.
func (in *incoming) setControl(m *nats.Msg) error {
	word := m.Header.Get(controlKey)
	if !isSubject(word) || len(word) > maxSubject/2 {
		return errMalformed.WithCause(fmt.Errorf("natsapi: a stream has an invalid header %s: %.64q", controlKey, word))
	}
	in.control = in.subject + "." + word
	return nil
}

// beat tells the server that the client is alive. It ends the stream instead if the server has been
// silent for too long.
func (in *incoming) beat() {
	in.mu.Lock()
	defer in.mu.Unlock()
	switch {
	case in.ended:
	case time.Since(in.heard) >= in.patience:
		in.end(transport.ErrSilent)
	default:
		in.say(kindRead)
		in.timer.Reset(in.patience / silentIntervals)
	}
}

// say sends a control message.
func (in *incoming) say(kind string) {
	h := nats.Header{kindKey: {kind}}
	if kind == kindRead {
		h[seqKey] = []string{strconv.FormatInt(in.read, 10)}
		in.told, in.toldBytes = in.read, in.readBytes
	}
	_ = in.conn.PublishMsg(&nats.Msg{Subject: in.control, Header: h}) // the server notices that nothing comes
}

// fail ends the stream with err; messages that have arrived are still passed on.
func (in *incoming) fail(err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.ended {
		in.end(err)
	}
}

// end closes messages, and cancels the stream unless the server has ended it.
func (in *incoming) end(err error) {
	in.ended, in.err = true, err
	close(in.messages)
	if !in.finished && in.control != "" {
		in.say(kindCancel)
	}
}

// leave ends the stream. It returns false if the server has neither opened nor ended the stream yet.
func (in *incoming) leave() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.ended {
		in.end(nil)
	}
	if in.timer != nil {
		in.timer.Stop()
	}
	return in.finished || in.control != ""
}

// reason returns the error of a stream that ended before the server ended it.
func (in *incoming) reason(ctx context.Context) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	switch _, ours := errors.AsType[*chassi.Error](in.err); {
	case in.err == nil:
		return transport.ErrTruncated
	case ours:
		return in.err
	default:
		return broker.Unreachable(ctx, in.err)
	}
}

// pass passes a message on to the caller. It returns true if further messages may follow, and
// otherwise false with the error of the stream, or nil.
func (in *incoming) pass(ctx context.Context, call *chassi.Call, remote *broker.Remote, m *nats.Msg) (more bool, err error) {
	switch kind := m.Header.Get(kindKey); {
	case m.Header.Get(broker.CodeKey) != "":
		setOut(call, m.Header)
		return false, remote.Read(call, m.Data)
	case kind == kindOpen:
		setOut(call, m.Header)
		call.Stream.Open()
		return true, nil
	case kind == kindItem:
		item := reflect.New(call.Endpoint.ResponseType()).Interface()
		if err := remote.ReadItem(m.Header.Get(broker.ContentTypeKey), m.Data, item); err != nil {
			return false, err
		}
		if !call.Stream.Received(ctx, item, len(m.Data)) {
			return false, broker.Unreachable(ctx, errCallerLeft)
		}
		in.taken(len(m.Data))
		return true, nil
	case kind == kindEnd:
		return false, nil
	case len(m.Data) == 0 && m.Header.Get("Status") == "503":
		return false, broker.Unreachable(ctx, nats.ErrNoResponders)
	default:
		return false, transport.ErrTruncated
	}
}

var errCallerLeft = errors.New("natsapi: the caller has left the stream")

// setOut sets the metadata of the response.
func setOut(call *chassi.Call, h nats.Header) {
	for key, values := range h {
		if len(values) > 0 {
			call.Out.Set(key, values[0])
		}
	}
}

// taken records that the caller has taken an item, and renews the credit when half of it is used.
func (in *incoming) taken(size int) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.read++
	in.readBytes += int64(size)
	in.unreadBytes -= size
	if !in.ended && (in.read-in.told >= maxUnread/2 || in.readBytes-in.toldBytes >= maxUnreadBytes/2) {
		in.say(kindRead)
	}
}
