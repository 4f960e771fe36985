package httpapi

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/strictjson"
	"github.com/chassi-go/chassi/transport"
)

// The media types of streams. A client that prefers the first one, according to acceptsEvents, gets
// Server-Sent Events (HTML Living Standard, section 9.2); all other clients get JSON Lines.
const (
	eventStream = "text/event-stream"
	jsonLines   = "application/jsonl"
)

// stream is the state of an exchange whose response is a stream. Items are written by the call's
// goroutine, heartbeats by a timer.
type stream struct {
	x         *exchange
	ctx       context.Context //nolint:containedctx // of the stream
	control   *http.ResponseController
	admitted  *transport.OpenStream // nil before Begin
	events    bool                  // whether the response is an event stream
	heartbeat *time.Timer           // nil before Open

	mu      sync.Mutex // held while writing
	written time.Time  // time of the last write
	ended   bool
}

var _ chassi.StreamCodec = (*exchange)(nil)

// Begin implements [chassi.StreamCodec]. It admits the stream and returns its context.
func (x *exchange) Begin(ctx context.Context, call *chassi.Call) (context.Context, error) {
	if err := x.out.invalid; err != nil {
		return nil, fmt.Errorf("httpapi: the response of %s: %w", x.route.binding.Endpoint.FullName(), err)
	}
	ctx, admitted, err := x.server.streams.Open(ctx, call)
	if err != nil {
		return nil, err
	}
	x.stream = &stream{x: x, ctx: ctx, control: http.NewResponseController(x.w), admitted: admitted}
	return ctx, nil
}

// Open implements [chassi.StreamCodec]. It sends the header of the response and starts the
// heartbeats. For a HEAD request, it sends only the header and returns errHead.
func (x *exchange) Open() error {
	s := x.stream
	if w := withoutFlush(x.w); w != nil {
		return fmt.Errorf("httpapi: %s: items cannot be flushed: the http.ResponseWriter %T of an HTTP middleware has neither Flush nor Unwrap", x.route.binding.Endpoint.FullName(), w)
	}
	s.events = acceptsEvents(x.r.Header)
	every := x.server.streams.Config().Heartbeat
	h := x.w.Header()
	h.Set("Content-Type", jsonLines)
	if s.events {
		h.Set("Content-Type", eventStream)
	}
	h["Cache-Control"] = noStore
	h.Set("X-Accel-Buffering", "no") // nginx
	h.Set(transport.HeartbeatKey, strconv.FormatInt(every.Milliseconds(), 10))
	if !x.leaveBody() {
		_ = s.control.SetReadDeadline(time.Time{}) // net/http reads to notice that the client disconnects
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.written = time.Now()
	_ = s.control.SetWriteDeadline(s.written.Add(x.server.streams.Config().SendTimeout))
	x.WriteHeader(http.StatusOK)
	if x.r.Method == http.MethodHead {
		return errHead
	}
	if err := s.flush(s.written); err != nil {
		return err
	}
	s.heartbeat = time.AfterFunc(math.MaxInt64, s.beat)
	s.heartbeat.Reset(every) // after the assignment, which beat reads
	return nil
}

// withoutFlush returns nil if [http.ResponseController.Flush] works with w, and otherwise the
// writer, w or one inside w, that has neither Flush nor Unwrap.
func withoutFlush(w http.ResponseWriter) http.ResponseWriter {
	for {
		switch v := w.(type) {
		case http.Flusher, interface{ FlushError() error }:
			return nil
		case interface{ Unwrap() http.ResponseWriter }:
			w = v.Unwrap()
		default:
			return w
		}
	}
}

// errHead ends the stream of a HEAD request, whose response has no items.
var errHead = chassi.NewError(chassi.Canceled, "head", "The response to HEAD has no items")

// Send implements [chassi.StreamCodec]. It sends an item and returns the size of its JSON in bytes.
func (x *exchange) Send(item any) (int, error) {
	s := x.stream
	encoded := getBuffer()
	defer putBuffer(encoded)
	if err := strictjson.Append(encoded, item); err != nil {
		return 0, fmt.Errorf("httpapi: encode an item of %s: %w", x.route.binding.Endpoint.FullName(), err)
	}
	if err := x.server.streams.Fits(len(*encoded)); err != nil {
		return 0, err
	}
	id, err := x.route.itemID(item)
	if err != nil {
		return 0, err
	}
	message := getBuffer()
	defer putBuffer(message)
	b := *message
	if s.events {
		if id != "" { // an empty one would make the client forget that of the item before
			b = append(append(append(b, "id: "...), id...), '\n')
		}
		b = append(append(append(b, "data: "...), *encoded...), "\n\n"...)
	} else {
		b = append(append(append(b, `{"item":`...), *encoded...), "}\n"...)
	}
	*message = b
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(*encoded), s.write(b)
}

// write sends b within the send timeout. Only one goroutine may write at a time.
func (s *stream) write(b []byte) error {
	began := time.Now()
	_ = s.control.SetWriteDeadline(began.Add(s.x.server.streams.Config().SendTimeout))
	if _, err := s.x.w.Write(b); err != nil {
		return s.failed(began, err)
	}
	return s.flush(began)
}

func (s *stream) flush(began time.Time) error {
	if err := s.control.Flush(); err != nil {
		return s.failed(began, err)
	}
	if s.x.r.ProtoMajor > 1 { // whose deadline ends a stream even if nothing is being written
		_ = s.control.SetWriteDeadline(time.Time{})
	}
	s.written = time.Now()
	return nil
}

// failed returns the error for a write that began at began and failed with err. The result is
// [transport.ErrStalled] if the send timeout has passed, and otherwise an error reporting that the
// client has disconnected.
func (s *stream) failed(began time.Time, err error) error {
	if time.Since(began) >= s.x.server.streams.Config().SendTimeout {
		return transport.ErrStalled.WithCause(err)
	}
	return chassi.NewError(chassi.Canceled, "canceled", "The client has disconnected").WithCause(err)
}

// beat sends a heartbeat if nothing was sent for an interval. It sends no heartbeat once the
// stream's context is done, so that the client does not wait for an iterator that does not check
// the context.
func (s *stream) beat() {
	every := s.x.server.streams.Config().Heartbeat
	if !s.mu.TryLock() { // an item is being sent
		s.heartbeat.Reset(every)
		return
	}
	defer s.mu.Unlock()
	if s.ended || s.ctx.Err() != nil {
		return
	}
	if idle := time.Since(s.written); idle < every {
		s.heartbeat.Reset(every - idle)
		return
	}
	text := "{\"heartbeat\":true}\n"
	if s.events { // a page cannot see comments
		text = "event: ping\ndata: {}\n\n"
	}
	if err := s.write([]byte(text)); err != nil {
		s.admitted.End(err)
		return
	}
	s.heartbeat.Reset(every)
}

// finish releases the stream and sends its end: the last message if the stream is open, and
// otherwise an error response or 204. Err is the result of the call.
func (s *stream) finish(err error) {
	s.release()
	x := s.x
	switch {
	case x.status != 0: // open
		_ = s.write(s.end(err)) // the client has disconnected: nothing to report
	case err != nil:
		x.writeError(err)
	default:
		x.w.Header()["Cache-Control"] = noStore
		x.send(http.StatusNoContent, nil)
	}
}

// release stops the heartbeats and closes s.admitted. Only the first call has an effect.
func (s *stream) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	s.ended = true
	if s.heartbeat != nil {
		s.heartbeat.Stop()
	}
	s.admitted.Close()
}

// end returns the last message of the stream, which reports the end of the stream if err is nil,
// and err otherwise. In an event stream, the error is followed by an event "end", which makes pages
// close their EventSource, unless the error has a delay after which the client is to open the
// stream again.
func (s *stream) end(err error) []byte {
	if err == nil {
		if s.events {
			return []byte("event: end\ndata: {}\n\n")
		}
		return []byte("{\"end\":true}\n")
	}
	e := transport.BoundError(chassi.ErrorOf(err))
	p := problemFor(e, statusFor(err), s.x.call.RequestID)
	p.RetryAfterMS = e.RetryAfter.Milliseconds()
	body, failed := json.Marshal(p)
	if failed != nil {
		body = fallbackError
	}
	if !s.events {
		return append(append([]byte(`{"error":`), body...), "}\n"...)
	}
	message := append(append([]byte("event: error\ndata: "), body...), "\n\n"...)
	if p.RetryAfterMS > 0 {
		return append(fmt.Appendf(nil, "retry: %d\n", p.RetryAfterMS), message...)
	}
	return append(message, "event: end\ndata: {}\n\n"...)
}

// planItems finds the field that contains the ID of an item, if there is one: an exported string
// field with the tag stream:"id". It returns an error for any other use of the tag stream.
func (rt *route) planItems() error {
	e := rt.binding.Endpoint
	for _, f := range reflect.VisibleFields(e.ResponseType()) {
		tag, ok := f.Tag.Lookup("stream")
		if !ok {
			continue
		}
		if tag != "id" || f.Type.Kind() != reflect.String || !f.IsExported() || rt.idField != nil {
			return fmt.Errorf(`httpapi: %s: field %s of %v has the tag stream:%q: want stream:"id" on exactly one exported string field`, e.FullName(), f.Name, e.ResponseType(), tag)
		}
		rt.idField = f.Index
	}
	return nil
}

var errItemID = errors.New("the ID of an item contains a line break or NUL")

// itemID returns the ID of an item, or "" if the item has no ID. It returns an error if the ID
// contains a line break or NUL.
func (rt *route) itemID(item any) (string, error) {
	if rt.idField == nil {
		return "", nil
	}
	field, err := reflect.ValueOf(item).Elem().FieldByIndexErr(rt.idField)
	if err != nil { // in an embedded pointer that is nil
		return "", nil //nolint:nilerr // it has no ID
	}
	if id := field.String(); !strings.ContainsAny(id, "\r\n\x00") {
		return id, nil
	}
	return "", fmt.Errorf("httpapi: %s: %w", rt.binding.Endpoint.FullName(), errItemID)
}
