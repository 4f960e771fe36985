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

// BindStream implements [client.Streamer]. It returns an error in the same cases as [Client.Bind].
// [ClientConfig].Timeout limits the time until a stream is open. The client buffers at most 64
// unread items of a stream, and no further items while the unread items have 1 MiB or more; if the
// server sends more, the stream ends with [chassi.Internal]. If a message is lost, the stream ends
// with [chassi.DataLoss].
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

// stream makes the call of a stream and passes its items to the caller. It returns when the stream
// has ended, with the error of the stream or nil.
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

// open sends the request of a stream, and returns the stream that receives the replies.
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

// leave ends a stream that the caller no longer reads. If the stream is not open yet, it is
// canceled when it opens, provided that this happens within [ClientConfig].Timeout.
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
	subject, reply string         // subjects of the request
	messages       chan *nats.Msg // received messages except heartbeats; closed when the stream ends

	mu          sync.Mutex
	control     string // the control subject; "" before the stream is open
	ended       bool   // whether messages is closed
	finished    bool   // whether the server has ended the stream
	err         error  // why the stream ended before the server ended it
	last        int64  // the number of the last item
	unreadBytes int
	heard       time.Time     // time at which the last message arrived
	patience    time.Duration // maximum time without a message
	timer       *time.Timer   // timer of the next heartbeat; nil before the stream is open

	read, readBytes int64 // number and bytes of the items that the caller has read
	told, toldBytes int64 // values of read and readBytes that were last sent to the server
}

// receive handles m, a message of the server. It does not block.
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

var errCredit = errors.New("natsapi: the server sent more items or bytes than the client had permitted")

// check records the message m of the given kind. It returns an error if m is malformed or exceeds
// the credit of the client in bytes, or if a message between the previous message and m is missing.
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
	case kind == kindItem && in.control == "":
		return errLost.WithCause(errors.New("natsapi: an item of a stream arrived before the message that opens the stream"))
	case kind == kindItem:
		return errLost.WithCause(fmt.Errorf("natsapi: an item of a stream has the number %d, want %d", seq, in.last+1))
	case seq != in.last:
		return errLost.WithCause(fmt.Errorf("natsapi: a stream message of kind %.16q has the number %d, want %d", kind, seq, in.last))
	case kind == kindOpen && in.control == "":
		return in.begin(m)
	case kind == kindEnd:
		in.finished = true
		return nil
	case kind == kindHeartbeat && in.control != "":
		return nil
	default:
		return errMalformed.WithCause(fmt.Errorf("natsapi: a message of a stream has an unknown or unexpected header %s: %.32q", kindKey, kind))
	}
}

// begin records that the stream is open, and starts the timer of the heartbeats. It returns an
// error if m, the first message, contains no valid control subject.
func (in *incoming) begin(m *nats.Msg) error {
	if err := in.setControl(m); err != nil {
		return err
	}
	in.patience = transport.StreamPatience(header(m.Header))
	in.timer = time.AfterFunc(in.patience/silentIntervals, in.beat)
	return nil
}

// setControl sets the control subject from the header of m. The control subject always begins with
// the subject of the request, so that a service cannot make its clients publish elsewhere.
// setControl returns an error if the header is invalid.
func (in *incoming) setControl(m *nats.Msg) error {
	word := m.Header.Get(controlKey)
	if !isSubject(word) || len(word) > maxSubject/2 {
		return errMalformed.WithCause(fmt.Errorf("natsapi: a stream has an invalid header %s: %.64q; want a subject of at most %d bytes", controlKey, word, maxSubject/2))
	}
	in.control = in.subject + "." + word
	return nil
}

// beat informs the server that the client is alive. If the server has been silent for too long,
// beat ends the stream instead.
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

// say sends a control message of the given kind.
func (in *incoming) say(kind string) {
	h := nats.Header{kindKey: {kind}}
	if kind == kindRead {
		h[seqKey] = []string{strconv.FormatInt(in.read, 10)}
		in.told, in.toldBytes = in.read, in.readBytes
	}
	_ = in.conn.PublishMsg(&nats.Msg{Subject: in.control, Header: h}) // the server notices that nothing comes
}

// fail ends the stream with err, unless the stream has already ended. Messages that have arrived
// are still passed to the caller.
func (in *incoming) fail(err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.ended {
		in.end(err)
	}
}

// end ends the stream with err, and closes in.messages. It cancels the stream on the server, unless
// the server has ended the stream or not yet opened it.
func (in *incoming) end(err error) {
	in.ended, in.err = true, err
	close(in.messages)
	if !in.finished && in.control != "" {
		in.say(kindCancel)
	}
}

// leave ends the stream, if it has not ended yet. It returns false if the server has neither opened
// nor ended the stream.
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

// reason returns the error of a stream that has ended without an end or error from the server.
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

// pass passes m to the caller. more reports whether further messages may follow. If it is false,
// err is the error with which the stream has ended, or nil if the stream is complete.
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

// setOut copies the first value of each header in h to the metadata of the response of call.
func setOut(call *chassi.Call, h nats.Header) {
	for key, values := range h {
		if len(values) > 0 {
			call.Out.Set(key, values[0])
		}
	}
}

// taken records that the caller has read an item of size bytes. It informs the server when half of
// the credit is used.
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
