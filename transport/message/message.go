// Package message serves endpoints to brokers, and calls them through brokers: it
// makes a call of a message with headers, and a message of the result. NATS and
// AMQP differ in how messages travel, not in what they say.
//
// # Headers
//
//	Content-Type          application/json, or application/protobuf; JSON if absent
//	X-Request-Id          as over HTTP
//	X-Request-Timeout-Ms  the time the caller still has
//	Traceparent, Authorization and any others are the call's pairs
//
// An answer comes in the format of its request; to a request without headers it has
// none, but for those that the method sets. One that is an error has the
// headers Error-Code and Error-Reason, and says all in a JSON body:
//
//	{"code":"not_found","error":"invalid_user","message":"Invalid user"}
//
// Where there are any it has violations, retry_after_ms, and the error's details as
// [strictjson.Details] writes them.
package message

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/schema/protobuf"
	"github.com/chassi-go/chassi/schema/strictjson"
	"github.com/chassi-go/chassi/transport"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// The two formats, as Content-Type names them.
const (
	JSON     = "application/json"
	Protobuf = "application/protobuf"
)

// The names of an error's headers.
const (
	ContentTypeKey = "Content-Type"
	CodeKey        = "Error-Code"
	ReasonKey      = "Error-Reason"
)

var (
	errMediaType = chassi.NewError(chassi.InvalidArgument, "unsupported_media_type", "The message must be application/json or application/protobuf")
	errTooLarge  = chassi.NewError(chassi.ResourceExhausted, "body_too_large", "The message is too large")
)

// Options are what a transport serves all its endpoints with.
type Options struct {
	Transport    string // "nats"
	MaxBytes     int    // of a request
	MaxJSONDepth int
	Logger       *slog.Logger
	Middleware   []chassi.Middleware
}

// Route is one endpoint as it is served from messages. It is safe for concurrent
// use.
type Route struct {
	binding           chassi.Binding
	handler           chassi.Handler
	options           *Options
	request, response *protobuf.Plan
}

// NewRoute binds e. It returns an error for messages that cannot be written as
// Protocol Buffers.
func NewRoute(e *chassi.Endpoint, o *Options) (*Route, error) {
	rt := &Route{options: o, binding: chassi.Binding{Endpoint: e, Transport: o.Transport, Route: e.FullName(), Status: transport.CodeStatus}}
	var err error
	if rt.request, err = protobuf.PlanOf(e.RequestType()); err == nil {
		rt.response, err = protobuf.PlanOf(e.ResponseType())
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e.FullName(), err)
	}
	rt.handler = rt.binding.Handler(o.Middleware...)
	return rt, nil
}

// Name returns the endpoint's full name.
func (rt *Route) Name() string { return rt.binding.Route }

// Endpoint returns what is served.
func (rt *Route) Endpoint() *chassi.Endpoint { return rt.binding.Endpoint }

// Answer is what goes back.
type Answer struct {
	Header transport.Pairs
	Body   []byte
	Err    *chassi.Error // nil for success
}

// exchange is one call and its answer.
type exchange struct {
	call     chassi.Call
	route    *Route
	body     []byte
	answer   Answer
	protobuf bool
	bare     bool
	room     [6]transport.Pair
}

// Request is a message that asks for a call.
type Request struct {
	Arrived  time.Time
	Peer     netip.AddrPort  // the address that a trusted client forwards for; mostly the zero value
	PeerName string          // see [chassi.Call.PeerName]
	Header   chassi.Metadata // never nil
	// Bare tells that the message has no headers: then the answer to a success needs
	// none of ours either, and a broker carries it for a good deal less.
	Bare bool
	Body []byte
}

// Handle makes a call of a message and returns its answer. It never panics.
func (rt *Route) Handle(ctx context.Context, r Request) *Answer {
	x := &exchange{route: rt, body: r.Body, bare: r.Bare}
	x.answer.Header = x.room[:0]
	x.call.Binding, x.call.Codec = &rt.binding, x
	x.call.Peer, x.call.PeerName = r.Peer, r.PeerName
	x.call.In, x.call.Out = r.Header, &x.answer.Header
	x.call.RequestID = transport.RequestID(r.Header.Get(transport.RequestIDKey))
	if !r.Bare {
		x.answer.Header.Set(transport.RequestIDKey, x.call.RequestID)
	}
	if d, ok := transport.CallerTimeout(r.Header); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, r.Arrived.Add(d))
		defer cancel()
	}
	if err := x.run(ctx); err != nil {
		x.fail(err)
	}
	return &x.answer
}

// run contains a panic that no middleware contained.
func (x *exchange) run(ctx context.Context) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = chassi.Recovered(v)
			x.route.options.Logger.ErrorContext(ctx, "panic outside of the middleware", "error", chassi.ErrorOf(err), "request_id", x.call.RequestID)
		}
	}()
	return x.route.handler(x.call.Context(ctx), &x.call)
}

// Refuse is the answer to a message that is not looked at.
func Refuse(err *chassi.Error) *Answer {
	x := new(exchange)
	x.fail(err)
	return &x.answer
}

// fault is an error as it stands in a body.
type fault struct {
	Code         string             `json:"code"`
	Error        string             `json:"error"`
	Message      string             `json:"message"`
	Violations   []chassi.Violation `json:"violations,omitempty"`
	RetryAfterMS int64              `json:"retry_after_ms,omitzero"`
	Details      jsontext.Value     `json:"details,omitzero"`
}

func (x *exchange) fail(err error) {
	e := chassi.ErrorOf(err)
	body, failed := json.Marshal(fault{
		Code: e.Code.String(), Error: cmp.Or(e.Reason, e.Code.String()), Message: e.Message, Violations: e.Violations,
		RetryAfterMS: e.RetryAfter.Milliseconds(), Details: strictjson.Details(e.Details),
	})
	if failed != nil { // text that is not UTF-8
		body = []byte(`{"code":"` + e.Code.String() + `","error":"internal","message":"Internal error"}`)
	}
	x.answer.Err, x.answer.Body = e, body
	if x.call.RequestID != "" {
		x.answer.Header.Set(transport.RequestIDKey, x.call.RequestID)
	}
	x.answer.Header.Set(CodeKey, e.Code.String())
	x.answer.Header.Set(ReasonKey, cmp.Or(e.Reason, e.Code.String()))
	x.answer.Header.Set(ContentTypeKey, JSON)
}

// Decode reads the message in the format that it says it has.
func (x *exchange) Decode(request any) error {
	o := x.route.options
	if len(x.body) > o.MaxBytes {
		return errTooLarge
	}
	switch kind := x.call.In.Get(ContentTypeKey); {
	case kind == Protobuf:
		x.protobuf = true
		return x.route.request.Decode(x.body, request)
	case kind == "", kind == JSON, strings.HasPrefix(kind, JSON+";"):
		return strictjson.Decode(x.body, request, o.MaxJSONDepth)
	default:
		return errMediaType
	}
}

// Encode writes the answer in the format of the request.
func (x *exchange) Encode(response any) (err error) {
	if x.protobuf {
		x.answer.Header.Set(ContentTypeKey, Protobuf)
		x.answer.Body, err = x.route.response.Append(nil, response)
		return err
	}
	if !x.bare {
		x.answer.Header.Set(ContentTypeKey, JSON)
	}
	return strictjson.Append(&x.answer.Body, response)
}

// Remote is one endpoint as it is called through messages, which are written as
// Protocol Buffers.
type Remote struct{ request, response *protobuf.Plan }

// NewRemote prepares calls of e.
func NewRemote(e *chassi.Endpoint) (*Remote, error) {
	r := new(Remote)
	var err error
	if r.request, err = protobuf.PlanOf(e.RequestType()); err == nil {
		r.response, err = protobuf.PlanOf(e.ResponseType())
	}
	return r, err
}

// Write returns the body of call's request, and sets the headers that tell its
// format and ctx's deadline.
func (r *Remote) Write(ctx context.Context, call *chassi.Call) ([]byte, error) {
	body, err := r.request.Append(nil, call.Request)
	if err != nil {
		return nil, chassi.NewError(chassi.InvalidArgument, "malformed_request", "The request cannot be sent").WithCause(err)
	}
	call.In.Set(ContentTypeKey, Protobuf)
	transport.SetTimeout(ctx, call.In)
	return body, nil
}

// Read fills call's response from an answer with call.Out as its headers, or
// returns the error that it says.
func (r *Remote) Read(call *chassi.Call, body []byte) error {
	if code := call.Out.Get(CodeKey); code != "" {
		return faultOf(code, body)
	}
	var err error
	if call.Out.Get(ContentTypeKey) == Protobuf {
		err = r.response.Decode(body, call.Response)
	} else {
		err = strictjson.DecodeAnswer(body, call.Response)
	}
	if err != nil {
		return chassi.NewError(chassi.Internal, "malformed_answer", "The service's answer is malformed").WithCause(err)
	}
	return nil
}

func faultOf(name string, body []byte) error {
	var f fault
	if err := json.Unmarshal(body, &f); err != nil || f.Error == "" {
		f = fault{Code: name, Error: name, Message: strings.ReplaceAll(name, "_", " ")}
	}
	e := chassi.NewError(chassi.Unknown, f.Error, f.Message)
	e.Violations, e.RetryAfter = f.Violations, time.Duration(f.RetryAfterMS)*time.Millisecond
	e.Details = strictjson.ParseDetails(f.Details)
	for _, code := range chassi.Codes() {
		if code.String() == f.Code {
			e.Code = code
		}
	}
	return e
}

// Unreachable tells the end of the caller's patience from a service that cannot
// be reached.
func Unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return chassi.ErrorOf(ctx.Err()).WithCause(errors.Join(ctx.Err(), err))
	}
	return chassi.NewError(chassi.Unavailable, "unreachable", "The service cannot be reached").WithCause(err)
}
