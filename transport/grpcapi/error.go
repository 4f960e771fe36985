package grpcapi

import (
	"context"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/schema/protobuf"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
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
	w := statusWriter{status: &spb.Status{Code: int32(e.Code), Message: truncate(e.Message)}}
	w.room = maxStatusBytes - escapedLen(w.status.GetMessage()) - base64Len(proto.Size(w.status))
	if e.Reason != "" && e.Reason != e.Code.String() { // the code says it already
		w.add(&errdetails.ErrorInfo{Reason: e.Reason, Domain: service})
	}
	if e.RetryAfter > 0 {
		w.add(&errdetails.RetryInfo{RetryDelay: durationpb.New(e.RetryAfter)})
	}
	if len(e.Violations) > 0 {
		w.addViolations(e.Violations)
	}
	if len(e.Details) > 0 {
		w.addDetails(e.Details)
	}
	return status.FromProto(w.status)
}

// statusWriter adds details to a status as long as there is room in the trailers.
type statusWriter struct {
	status *spb.Status
	room   int // in bytes of the trailers
}

// add adds a detail if it fits.
func (w *statusWriter) add(m proto.Message) bool {
	detail := new(anypb.Any)
	return detail.MarshalFrom(m) == nil && w.addAny(detail)
}

func (w *statusWriter) addAny(detail *anypb.Any) bool {
	size := base64Len(proto.Size(detail) + anyOverhead)
	if size > w.room {
		return false
	}
	w.room -= size
	w.status.Details = append(w.status.Details, detail)
	return true
}

// anyOverhead is what a detail takes beside its own bytes: a tag, its length, and
// what base64 rounds up.
const anyOverhead = 6

// addViolations adds as many as fit, in order.
func (w *statusWriter) addViolations(violations []chassi.Violation) {
	bad, size := new(errdetails.BadRequest), len(typePrefix)+len("google.rpc.BadRequest")+anyOverhead
	for _, v := range violations {
		one := &errdetails.BadRequest_FieldViolation{Field: v.Field, Description: v.Message}
		if size += proto.Size(one) + anyOverhead; base64Len(size) > w.room {
			break
		}
		bad.FieldViolations = append(bad.FieldViolations, one)
	}
	if len(bad.GetFieldViolations()) > 0 {
		w.add(bad)
	}
}

// addDetails adds those that fit. One that cannot be encoded is left out.
func (w *statusWriter) addDetails(details []chassi.Detail) {
	for _, d := range details[:min(len(details), maxDetails)] {
		if name, body, err := protobuf.EncodeDetail(d); err == nil {
			w.addAny(&anypb.Any{TypeUrl: typePrefix + name, Value: body})
		}
	}
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
// malformed is left out. It returns whether there was anything, and so a server that
// has answered.
func readDetails(e *chassi.Error, details []*anypb.Any) (answered bool) {
	known := false
	for _, detail := range details[:min(len(details), maxReceivedDetails)] {
		switch name := detail.MessageName(); {
		case name == "google.rpc.ErrorInfo" && !known:
			var d errdetails.ErrorInfo
			if known = proto.Unmarshal(detail.GetValue(), &d) == nil && d.GetReason() != ""; known {
				e.Reason, answered = d.GetReason(), true
			}
		case name == "google.rpc.BadRequest" && e.Violations == nil:
			var d errdetails.BadRequest
			if proto.Unmarshal(detail.GetValue(), &d) == nil {
				answered = true
				for _, v := range d.GetFieldViolations() {
					e.Violations = append(e.Violations, chassi.Violation{Field: v.GetField(), Message: v.GetDescription()})
				}
			}
		case name == "google.rpc.RetryInfo" && e.RetryAfter == 0:
			var d errdetails.RetryInfo
			if proto.Unmarshal(detail.GetValue(), &d) == nil {
				e.RetryAfter, answered = max(d.GetRetryDelay().AsDuration(), 0), true
			}
		case len(e.Details) < maxDetails:
			if d, ok := protobuf.ReceivedDetail(string(name), detail.GetValue()); ok {
				e.Details, answered = append(e.Details, d), true
			}
		}
	}
	return answered
}
