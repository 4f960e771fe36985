package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/strictjson"
	"github.com/chassi-go/chassi/transport"
)

// BindStream implements the interface Streamer of package client. It returns the binding of e and a
// handler that opens a stream of e and receives its items. ClientConfig.Timeout limits the time
// until the stream opens. BindStream returns an error in the same cases as [Client.Bind].
func (c *Client) BindStream(e *chassi.Endpoint) (*chassi.Binding, chassi.Handler, error) {
	b, rt, err := c.bind(e)
	if err != nil {
		return nil, nil, err
	}
	return b, func(ctx context.Context, call *chassi.Call) error { return c.stream(ctx, rt, call) }, nil
}

// stream opens a stream and receives its items. It returns when the stream has ended, with nil if
// the server ended the stream without an error.
func (c *Client) stream(ctx context.Context, rt *clientRoute, call *chassi.Call) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	opening := time.AfterFunc(c.config.Timeout, func() { cancel(context.DeadlineExceeded) })
	defer opening.Stop()
	if err := transport.CheckMetadata(call.In); err != nil {
		return err
	}
	format := jsonLines
	if c.config.EventStreams {
		format = eventStream
	}
	call.In.Set("Accept", format)
	request, err := c.request(ctx, rt, call)
	if err != nil {
		return cannotSend(err)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return streamError(ctx, err, nil)
	}
	defer response.Body.Close()
	for key, values := range response.Header {
		call.Out.Set(key, values[0])
	}
	switch {
	case rt.isProblem(response):
		body, err := c.readBody(response)
		if err != nil && ctx.Err() != nil {
			return streamError(ctx, err, nil)
		}
		return problemOf(response, body)
	case response.StatusCode == http.StatusNoContent:
		return nil
	case !strings.HasPrefix(response.Header.Get("Content-Type"), format):
		return malformedResponse(fmt.Errorf("the stream has the content type %q, want %s", response.Header.Get("Content-Type"), format))
	}
	opening.Stop()
	call.Stream.Open()
	r := &streamReader{
		events: c.config.EventStreams,
		lines:  bufio.NewReader(response.Body), max: int(min(c.config.MaxResponseBytes, 1<<30)), call: call,
		patience: transport.StreamPatience(call.Out),
	}
	r.silence = time.AfterFunc(r.patience, func() { cancel(transport.ErrSilent) })
	defer r.silence.Stop()
	for {
		if more, err := r.next(ctx); err != nil {
			return streamError(ctx, err, transport.ErrTruncated)
		} else if !more {
			return nil
		}
	}
}

// streamError returns the error of a stream that failed with err: the error for context.Cause(ctx)
// if ctx is done, err itself if err is a [chassi.Error], and otherwise broken with the cause err. A
// nil broken means that the service cannot be reached.
func streamError(ctx context.Context, err error, broken *chassi.Error) error {
	if ctx.Err() != nil {
		return chassi.ErrorOf(context.Cause(ctx)).WithCause(errors.Join(context.Cause(ctx), err))
	}
	if e, ok := errors.AsType[*chassi.Error](err); ok {
		return e
	}
	if broken == nil {
		return unreachable(ctx, err)
	}
	return broken.WithCause(err)
}

// streamReader reads the messages of a stream.
type streamReader struct {
	events   bool // whether the stream is an event stream
	lines    *bufio.Reader
	line     []byte
	max      int // maximum length of a line, and of the data of an event, in bytes
	call     *chassi.Call
	patience time.Duration
	silence  *time.Timer
}

// streamMessage is a message of a stream. Exactly one member of a valid message is set.
type streamMessage struct {
	Item      jsontext.Value `json:"item"`
	Error     *problem       `json:"error"`
	End       bool           `json:"end"`
	Heartbeat bool           `json:"heartbeat"`
}

var errLeft = chassi.NewError(chassi.Canceled, "canceled", "The caller has left the stream")

// next reads and handles the next message. more is false if the message was the last one.
func (r *streamReader) next(ctx context.Context) (more bool, err error) {
	l, err := r.message()
	if err != nil {
		return false, err
	}
	r.silence.Stop() // while the caller handles the item
	defer r.silence.Reset(r.patience)
	switch {
	case l.Item != nil:
		item := reflect.New(r.call.Endpoint.ResponseType()).Interface()
		if err := strictjson.DecodeResponse(l.Item, item); err != nil {
			return false, malformedResponse(err)
		}
		if !r.call.Stream.Received(ctx, item, len(l.Item)) {
			return false, errLeft
		}
		return true, nil
	case l.Error != nil:
		return false, l.Error.asError()
	case l.End:
		return false, nil
	case l.Heartbeat:
		return true, nil
	default:
		return false, malformedResponse(errors.New("a message of the stream is not an item, an error, an end or a heartbeat"))
	}
}

// message reads and returns the next message.
func (r *streamReader) message() (m streamMessage, err error) {
	if r.events {
		return r.event()
	}
	if err := r.read(); err != nil {
		return m, err
	}
	if err := json.Unmarshal(r.line, &m); err != nil {
		return m, malformedResponse(err)
	}
	return m, nil
}

// event reads the next event of an event stream and returns the message that the event contains.
func (r *streamReader) event() (m streamMessage, err error) {
	kind, data := "", []byte(nil)
	for {
		if err := r.read(); err != nil {
			return m, err
		}
		field, value, _ := bytes.Cut(bytes.TrimRight(r.line, "\r\n"), []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch {
		case len(field) == 0 && data != nil: // the blank line after an event
			return eventMessage(kind, data)
		case string(field) == "event":
			kind = string(value)
		case string(field) == "data":
			data = append(data, value...)
		}
		if len(data) > r.max {
			return m, r.tooLarge()
		}
	}
}

// eventMessage returns the message that an event of the type kind contains. An event of an unknown
// type counts as a heartbeat.
func eventMessage(kind string, data []byte) (m streamMessage, err error) {
	switch kind {
	case "":
		m.Item = data
	case "error":
		m.Error = new(problem)
		if err := json.Unmarshal(data, m.Error); err != nil {
			return m, malformedResponse(err)
		}
	case "end":
		m.End = true
	default:
		m.Heartbeat = true // or an event of a later version
	}
	return m, nil
}

func (r *streamReader) tooLarge() error {
	return transport.ErrResponseTooLarge.WithCause(fmt.Errorf("httpapi: a message of the stream has more than %d bytes: see the client's max_response_bytes", r.max))
}

// read reads a line into r.line. It returns an error if the line has more than r.max bytes, or if
// the stream ends or reading fails before the line break.
func (r *streamReader) read() error {
	r.line = r.line[:0]
	for {
		part, err := r.lines.ReadSlice('\n')
		r.line = append(r.line, part...)
		switch {
		case len(r.line) > r.max:
			return r.tooLarge()
		case err == nil:
			return nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return fmt.Errorf("httpapi: read the stream: %w", err)
		}
	}
}
