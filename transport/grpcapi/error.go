package grpcapi

import (
	"context"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/schema/protobuf"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
)

const (
	// maxDetails bounds the details of one error, as [chassi.Error.WithDetails] says.
	maxDetails = 16
	// maxStatusBytes bounds what an error takes of the trailers. Many clients accept
	// 8 KiB of them, and of longer ones see only a reset stream.
	maxStatusBytes = 7 << 10
	// maxMessageBytes bounds an error's message as it is written there, in which all
	// but printable ASCII takes three bytes each.
	maxMessageBytes = 2 << 10
	// maxReceivedDetails bounds the details that a client looks at: those of a method
	// and the three of errdetails.
	maxReceivedDetails = maxDetails + 3
	// typePrefix makes a type URL of a message's name.
	typePrefix = "type.googleapis.com/"
)

// statusOf returns what the caller sees of err, hiding what it hides. The codes
// are gRPC's, number by number. Of an error that does not fit into the trailers the
// details of the method go first, then violations, then the end of the message.
func statusOf(service string, err error) *status.Status {
	e := chassi.ErrorOf(err)
	message := truncate(e.Message)
	w := statusWriter{room: maxStatusBytes - escapedLen(message) - base64Len(len(message)+anyOverhead)}
	if e.Reason != "" && e.Reason != e.Code.String() && utf8.ValidString(e.Reason) { // the code says its own name
		w.add("google.rpc.ErrorInfo", &errdetails.ErrorInfo{Reason: e.Reason, Domain: service})
	}
	if e.RetryAfter > 0 {
		w.add("google.rpc.RetryInfo", &errdetails.RetryInfo{RetryDelay: durationpb.New(e.RetryAfter)})
	}
	if len(e.Violations) > 0 {
		w.addViolations(e.Violations)
	}
	if len(e.Details) > 0 {
		w.addDetails(e.Details)
	}
	return w.status(codes.Code(e.Code), message)
}

// statusWriter collects the details of a status as long as there is room for them in
// the trailers.
type statusWriter struct {
	own  []protoadapt.MessageV1
	set  []*anypb.Any // by the method
	room int          // in bytes of the trailers
}

// take returns whether there is room for a detail.
func (w *statusWriter) take(name string, size int) bool {
	size = base64Len(len(typePrefix) + len(name) + size + 2*anyOverhead)
	if size > w.room {
		return false
	}
	w.room -= size
	return true
}

// anyOverhead is the most that a field takes beside its bytes: its tag and its length.
const anyOverhead = 4

func (w *statusWriter) add(name string, m interface {
	proto.Message
	protoadapt.MessageV1
},
) {
	if w.take(name, proto.Size(m)) {
		w.own = append(w.own, m)
	}
}

// addViolations adds as many as fit, in order.
func (w *statusWriter) addViolations(violations []chassi.Violation) {
	const name = "google.rpc.BadRequest"
	bad, size := new(errdetails.BadRequest), len(typePrefix)+len(name)+2*anyOverhead
	for _, v := range violations {
		one := &errdetails.BadRequest_FieldViolation{Field: strings.ToValidUTF8(v.Field, "\uFFFD"), Description: strings.ToValidUTF8(v.Message, "\uFFFD")}
		if size += proto.Size(one) + anyOverhead; base64Len(size) > w.room {
			break
		}
		bad.FieldViolations = append(bad.FieldViolations, one)
	}
	if len(bad.GetFieldViolations()) > 0 {
		w.add(name, bad)
	}
}

// addDetails adds those that fit. One that cannot be encoded is left out.
func (w *statusWriter) addDetails(details []chassi.Detail) {
	for _, d := range details[:min(len(details), maxDetails)] {
		if name, body, err := protobuf.EncodeDetail(d); err == nil && w.take(name, len(body)) {
			w.set = append(w.set, &anypb.Any{TypeUrl: typePrefix + name, Value: body})
		}
	}
}

func (w *statusWriter) status(code codes.Code, message string) *status.Status {
	s := status.New(code, message)
	if len(w.own) > 0 {
		if detailed, err := s.WithDetails(w.own...); err == nil {
			s = detailed
		}
	}
	if len(w.set) > 0 {
		p := s.Proto()
		p.Details = append(p.Details, w.set...)
		s = status.FromProto(p)
	}
	return s
}

func base64Len(n int) int { return (n + 2) / 3 * 4 }

// escapedLen is how long a message is in the trailers (grpc-message is
// percent-encoded).
func escapedLen(s string) int {
	n := len(s)
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' || s[i] == '%' {
			n += 2
		}
	}
	return n
}

// truncate cuts a message that is too long for the trailers, between two characters.
func truncate(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= maxMessageBytes/3 {
		return s
	}
	n := 0
	for i := range len(s) {
		if n += escapedLen(s[i : i+1]); n > maxMessageBytes {
			for !utf8.RuneStart(s[i]) {
				i--
			}
			return s[:i]
		}
	}
	return s
}

// errorOf turns what grpc-go returned to a caller into what the other side sent,
// or into what happened on the way.
func errorOf(ctx context.Context, err error) error {
	s, ok := status.FromError(err)
	if !ok {
		return chassi.ErrorOf(err)
	}
	e := &chassi.Error{Code: chassi.Code(s.Code()), Message: s.Message()}
	e.Reason = e.Code.String()
	if readDetails(e, s.Proto().GetDetails()) {
		return e
	}
	e.Cause = errors.Join(err, ctx.Err())
	if ended := ctx.Err(); ended != nil {
		return chassi.ErrorOf(ended).WithCause(e.Cause)
	}
	return e
}

// readDetails fills e from what a server has sent, which is not trusted: what is
// malformed is left out. It returns whether anything was understood, and so whether
// it was the server that failed, not the way to it.
func readDetails(e *chassi.Error, details []*anypb.Any) (understood bool) {
	r := detailReader{err: e}
	for _, detail := range details[:min(len(details), maxReceivedDetails)] {
		if r.read(detail) {
			understood = true
		}
	}
	return understood
}

// detailReader keeps which of the three known details have been there: a second one is
// one of the method's.
type detailReader struct {
	err                       *chassi.Error
	reason, violations, delay bool
}

func (r *detailReader) read(detail *anypb.Any) bool {
	switch name := detail.MessageName(); {
	case name == "google.rpc.ErrorInfo" && !r.reason:
		var d errdetails.ErrorInfo
		if r.reason = proto.Unmarshal(detail.GetValue(), &d) == nil && d.GetReason() != ""; r.reason {
			r.err.Reason = d.GetReason()
		}
		return r.reason
	case name == "google.rpc.BadRequest" && !r.violations:
		var d errdetails.BadRequest
		if r.violations = proto.Unmarshal(detail.GetValue(), &d) == nil; !r.violations {
			return false
		}
		for _, v := range d.GetFieldViolations() {
			r.err.Violations = append(r.err.Violations, chassi.Violation{Field: v.GetField(), Message: v.GetDescription()})
		}
		return true
	case name == "google.rpc.RetryInfo" && !r.delay:
		var d errdetails.RetryInfo
		if r.delay = proto.Unmarshal(detail.GetValue(), &d) == nil; r.delay {
			r.err.RetryAfter = max(d.GetRetryDelay().AsDuration(), 0)
		}
		return r.delay
	default:
		received, ok := protobuf.ReceivedDetail(string(name), detail.GetValue())
		if ok = ok && len(r.err.Details) < maxDetails; ok {
			r.err.Details = append(r.err.Details, received)
		}
		return ok
	}
}
