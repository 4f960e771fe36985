// Package broker serves and calls endpoints over message brokers: it converts request messages to
// calls, and the results of calls to response messages. The NATS and AMQP transports share this
// package; they differ only in how they send messages.
//
// # Headers
//
//	Content-Type          application/json or application/protobuf; JSON if absent
//	X-Request-Id          the request ID; a new one is generated if absent or invalid
//	X-Request-Timeout-Ms  the time that remains for the call, in milliseconds
//
// All headers, including others such as Traceparent and Authorization, are the metadata of the
// call.
//
// A response has the format of its request. The response to a request without headers has only the
// headers that the method sets, unless it is an error. An error has the headers Error-Code and
// Error-Reason, and a JSON body:
//
//	{"code":"not_found","error":"invalid_user","message":"Invalid user"}
//
// If the error has them, the body also contains violations, retry_after_ms, and details as encoded
// by [strictjson.Details].
package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/strictjson"
	"github.com/chassi-go/chassi/schema/protobuf"
	"github.com/chassi-go/chassi/transport"
)

// Media types of messages: the values of the Content-Type header.
const (
	JSON     = "application/json"
	Protobuf = "application/protobuf"
)

// Names of headers. An error response has all three.
const (
	ContentTypeKey = "Content-Type"
	CodeKey        = "Error-Code"
	ReasonKey      = "Error-Reason"
)

var (
	errMediaType = chassi.NewError(chassi.InvalidArgument, "unsupported_media_type", "The content type of the message must be application/json or application/protobuf")
)

// Options configures the routes of a transport.
type Options struct {
	Transport    string // the name of the transport: "nats" or "amqp"
	MaxBytes     int    // maximum size of a request in bytes
	MaxJSONDepth int    // maximum nesting depth of a JSON request
	Logger       *slog.Logger
	Middleware   []chassi.Middleware
}

// Route handles the messages that request calls of one endpoint. It is safe for concurrent use.
type Route struct {
	binding           chassi.Binding
	handler           chassi.Handler
	options           *Options
	maxBytes          int // maximum size of a request in bytes
	request, response *protobuf.Plan
}

// NewRoute returns the route of e, which may be a stream. It returns an error if brokers do not
// support e, if the request or response type of e has no Protocol Buffers encoding, or if a
// middleware cannot serve e.
func NewRoute(e *chassi.Endpoint, o *Options) (*Route, error) {
	if err := transport.CheckShape(e, strings.ToUpper(o.Transport), false); err != nil {
		return nil, err //nolint:wrapcheck // says which endpoint
	}
	rt := &Route{options: o, binding: chassi.Binding{Endpoint: e, Transport: o.Transport, Route: e.FullName(), Status: transport.CodeStatus}}
	var err error
	if rt.request, err = protobuf.PlanOf(e.RequestType()); err == nil {
		rt.response, err = protobuf.PlanOf(e.ResponseType())
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e.FullName(), err)
	}
	if rt.maxBytes = o.MaxBytes; e.MaxBody() > 0 {
		rt.maxBytes = int(min(e.MaxBody(), int64(o.MaxBytes)))
	}
	rt.handler = rt.binding.Handler(o.Middleware...)
	if err := rt.binding.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", e.FullName(), err)
	}
	return rt, nil
}

// Name returns the endpoint's full name.
func (rt *Route) Name() string { return rt.binding.Route }

// Endpoint returns the endpoint.
func (rt *Route) Endpoint() *chassi.Endpoint { return rt.binding.Endpoint }

// Response is the response to a [Request].
type Response struct {
	Header transport.Pairs
	Body   []byte
	Err    *chassi.Error // nil for success
}

// exchange is one call with its response. It implements [chassi.Codec].
type exchange struct {
	call     chassi.Call
	route    *Route
	body     []byte
	response Response
	protobuf bool
	bare     bool
	slots    [6]transport.Pair
}

// Request is a message that requests a call.
type Request struct {
	Arrived  time.Time
	Peer     netip.AddrPort  // address of the client for which a trusted client forwards; usually the zero value
	PeerName string          // authenticated name of the client, as in [chassi.Call]
	Header   chassi.Metadata // never nil
	// Bare reports whether the message has no headers. A successful response then has only the
	// headers that the method sets, which is cheaper for the broker.
	Bare bool
	Body []byte
}

// Handle makes the call that r requests and returns its response. It never panics.
func (rt *Route) Handle(ctx context.Context, r Request) *Response {
	x := new(exchange)
	x.call.Codec = x
	return x.handle(ctx, rt, r)
}

func (x *exchange) handle(ctx context.Context, rt *Route, r Request) *Response {
	x.route, x.body, x.bare = rt, r.Body, r.Bare
	x.response.Header = x.slots[:0]
	x.call.Binding = &rt.binding
	x.call.Peer, x.call.PeerName = r.Peer, r.PeerName
	x.call.In, x.call.Out = r.Header, &x.response.Header
	x.call.RequestID = transport.RequestID(r.Header.Get(transport.RequestIDKey))
	if !r.Bare {
		x.response.Header.Set(transport.RequestIDKey, x.call.RequestID)
	}
	if d, ok := transport.CallerTimeout(r.Header); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, r.Arrived.Add(d))
		defer cancel()
	}
	if err := x.run(ctx); err != nil {
		x.fail(err)
	}
	return &x.response
}

// run makes the call and returns its error. If a panic reaches run because no middleware has
// recovered it, run recovers and logs it, and returns an error for it.
func (x *exchange) run(ctx context.Context) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = chassi.Recovered(v)
			x.route.options.Logger.ErrorContext(ctx, "panic outside of the middleware", "error", chassi.ErrorOf(err), "request_id", x.call.RequestID)
		}
	}()
	return x.route.handler(x.call.Context(ctx), &x.call)
}

// Refuse returns a response with err, for a message that is refused without a call.
func Refuse(err *chassi.Error) *Response {
	x := new(exchange)
	x.fail(err)
	return &x.response
}

// fault is the JSON form of an error.
type fault struct {
	Code         string             `json:"code"`
	Error        string             `json:"error"`
	Message      string             `json:"message"`
	Violations   []chassi.Violation `json:"violations,omitempty"`
	RetryAfterMS int64              `json:"retry_after_ms,omitzero"`
	Details      jsontext.Value     `json:"details,omitzero"`
}

func (x *exchange) fail(err error) {
	e := transport.BoundError(chassi.ErrorOf(err))
	if transport.CheckResponse(x.response.Header) != nil {
		x.response.Header = x.response.Header[:0] // metadata that cannot be sent must not hide the error
	}
	body, failed := json.Marshal(fault{
		Code: e.Code.String(), Error: cmp.Or(e.Reason, e.Code.String()), Message: e.Message, Violations: e.Violations,
		RetryAfterMS: e.RetryAfter.Milliseconds(), Details: strictjson.Details(e.Details),
	})
	if failed != nil { // a violation or the message is not UTF-8
		body = minimal(&chassi.Error{Code: e.Code, Reason: e.Reason, Message: strings.ToValidUTF8(e.Message, "\uFFFD")})
	}
	x.response.Err, x.response.Body = e, body
	if x.call.RequestID != "" {
		x.response.Header.Set(transport.RequestIDKey, x.call.RequestID)
	}
	x.response.Header.Set(CodeKey, e.Code.String())
	x.response.Header.Set(ReasonKey, cmp.Or(e.Reason, e.Code.String()))
	x.response.Header.Set(ContentTypeKey, JSON)
}

// minimal returns a JSON body for e that omits the violations, the retry delay and the details. If
// e contains text that is not UTF-8, the body has only the code, also in place of the reason.
func minimal(e *chassi.Error) []byte {
	body, err := json.Marshal(fault{Code: e.Code.String(), Error: cmp.Or(e.Reason, e.Code.String()), Message: e.Message})
	if err != nil { // text that is not UTF-8
		return []byte(`{"code":"` + e.Code.String() + `","error":"` + e.Code.String() + `"}`)
	}
	return body
}

// Small returns a small error response that replaces a, which is too large for the broker. If a is
// an error, the replacement has the same code and reason; otherwise it is
// [transport.ErrResponseTooLarge]. The replacement has the request ID of a.
func (a *Response) Small() *Response {
	e := *transport.ErrResponseTooLarge
	if a.Err != nil {
		e = chassi.Error{Code: a.Err.Code, Reason: a.Err.Reason, Message: strings.ReplaceAll(a.Err.Code.String(), "_", " ")}
	}
	small := &Response{Err: &e, Body: minimal(&e)}
	if id := a.Header.Get(transport.RequestIDKey); id != "" {
		small.Header.Set(transport.RequestIDKey, id)
	}
	small.Header.Set(CodeKey, e.Code.String())
	small.Header.Set(ReasonKey, cmp.Or(e.Reason, e.Code.String()))
	small.Header.Set(ContentTypeKey, JSON)
	return small
}

// Decode decodes the message into request, in the format of its Content-Type header. It returns an
// error if the message is too large or malformed, or if its format is unknown.
func (x *exchange) Decode(request any) error {
	o := x.route.options
	if len(x.body) > x.route.maxBytes {
		return transport.ErrBodyTooLarge
	}
	switch kind := x.call.In.Get(ContentTypeKey); {
	case kind == Protobuf:
		x.protobuf = true
		return x.route.request.Decode(x.body, request)
	case kind != "" && !strictjson.IsMediaType(kind):
		return errMediaType
	case len(x.body) == 0: // equivalent to an empty object
		return nil
	default:
		return strictjson.Decode(x.body, request, o.MaxJSONDepth)
	}
}

// Encode encodes response in the format of the request. It returns an error if response cannot be
// encoded, or if the metadata of the response cannot be sent.
func (x *exchange) Encode(response any) (err error) {
	if err := transport.CheckResponse(x.response.Header); err != nil {
		return fmt.Errorf("the response of %s: %w", x.route.Name(), err)
	}
	if x.protobuf {
		x.response.Header.Set(ContentTypeKey, Protobuf)
		x.response.Body, err = x.route.response.Append(nil, response)
		return err
	}
	if !x.bare {
		x.response.Header.Set(ContentTypeKey, JSON)
	}
	return strictjson.Append(&x.response.Body, response)
}

// Remote encodes the requests of calls to one endpoint as Protocol Buffers, and decodes the
// responses. It is safe for concurrent use.
type Remote struct{ request, response *protobuf.Plan }

// NewRemote returns the Remote for e. It returns an error if brokers do not support e, or if the
// request or response type of e has no Protocol Buffers encoding.
func NewRemote(e *chassi.Endpoint) (*Remote, error) {
	if err := transport.CheckShape(e, "a message broker", false); err != nil {
		return nil, err //nolint:wrapcheck // says which endpoint
	}
	r := new(Remote)
	var err error
	if r.request, err = protobuf.PlanOf(e.RequestType()); err == nil {
		r.response, err = protobuf.PlanOf(e.ResponseType())
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e.FullName(), err)
	}
	return r, nil
}

// Write returns the encoded request of call. In call.In it sets the headers for the format and, if
// ctx has a deadline, for the remaining time. It returns an error if the metadata in call.In cannot
// be sent or the request cannot be encoded.
func (r *Remote) Write(ctx context.Context, call *chassi.Call) ([]byte, error) {
	if err := transport.CheckMetadata(call.In); err != nil {
		return nil, err
	}
	body, err := r.request.Append(nil, call.Request)
	if err != nil {
		return nil, chassi.NewError(chassi.InvalidArgument, "malformed_request", "The request cannot be encoded").WithCause(err)
	}
	call.In.Set(ContentTypeKey, Protobuf)
	transport.SetTimeout(ctx, call.In)
	return body, nil
}

// Read decodes body into call.Response; call.Out contains the headers of the response message. If
// the message is an error, Read returns that error. If the body of a successful response is
// malformed, the error is [chassi.Internal].
func (r *Remote) Read(call *chassi.Call, body []byte) error {
	if code := call.Out.Get(CodeKey); code != "" {
		return faultOf(code, body)
	}
	return r.decode(call.Out.Get(ContentTypeKey), body, call.Response)
}

func (r *Remote) decode(contentType string, body []byte, message any) error {
	var err error
	if contentType == Protobuf {
		err = r.response.Decode(body, message)
	} else {
		err = strictjson.DecodeResponse(body, message)
	}
	if err != nil {
		return chassi.NewError(chassi.Internal, "malformed_response", "The service's response is malformed").WithCause(err)
	}
	return nil
}

func faultOf(name string, body []byte) error {
	var f fault
	if err := json.Unmarshal(body, &f); err != nil || f.Error == "" {
		f = fault{Code: name, Error: name, Message: strings.ReplaceAll(name, "_", " ")}
	}
	code, ok := chassi.ParseCode(f.Code)
	if !ok {
		code = chassi.Unknown
	}
	e := chassi.NewError(code, f.Error, f.Message)
	e.Violations, e.RetryAfter = f.Violations, transport.RetryAfter(f.RetryAfterMS, time.Millisecond)
	e.Details = strictjson.ParseDetails(f.Details)
	return e
}

// ErrTooManyCalls is returned for a call beyond the client's limit of calls in flight.
var ErrTooManyCalls = chassi.NewError(chassi.ResourceExhausted, "too_many_calls", "Too many calls are in progress")

// Unreachable returns the error of a call whose request failed with err: err itself if it is or
// wraps [ErrTooManyCalls], otherwise the [chassi.Error] for ctx.Err() if ctx is done,
// and otherwise [chassi.Unavailable]. The cause of the latter two includes err.
func Unreachable(ctx context.Context, err error) error {
	if errors.Is(err, ErrTooManyCalls) {
		return err
	}
	return unreachable(ctx, "The service cannot be reached", err)
}

func unreachable(ctx context.Context, message string, err error) error {
	if ctx.Err() != nil {
		return chassi.ErrorOf(ctx.Err()).WithCause(errors.Join(ctx.Err(), err))
	}
	return chassi.NewError(chassi.Unavailable, "unreachable", message).WithCause(err)
}
