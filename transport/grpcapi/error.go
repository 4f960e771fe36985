package grpcapi

import (
	"context"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/schema/protobuf"
	"github.com/chassi-go/chassi/transport"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"
)

const (
	// maxStatusBytes is the maximum size of an error in the trailers, in bytes. Many clients
	// accept at most 8 KiB of trailers, and report a stream reset for larger trailers.
	maxStatusBytes = 7 << 10
	// maxMessageBytes is the maximum size of an encoded error message, in bytes. Each percent sign,
	// and each byte that is not printable ASCII, is encoded as three bytes.
	maxMessageBytes = 2 << 10
	// fieldOverhead is the maximum size of a field's tag and length, in bytes.
	fieldOverhead = 4
)

// statusOf returns the status that the client receives for err, an error of a method of service.
// The codes have the numbers of gRPC. statusOf truncates a message that is longer than
// maxMessageBytes in the trailers. If the error still does not fit into the trailers, statusOf
// omits details of the method first, and then violations. The trailers contain the message twice:
// as text, and in the status, which is encoded in base64.
func statusOf(service string, err error) *status.Status {
	e := chassi.ErrorOf(err)
	message := truncate(e.Message)
	s := status.New(codes.Code(e.Code), message)
	details := protobuf.ErrorDetails(service, e, (maxStatusBytes-escapedLen(message))/4*3-len(message)-fieldOverhead)
	if len(details) == 0 {
		return s
	}
	p := s.Proto()
	p.Details = make([]*anypb.Any, len(details))
	for i, d := range details {
		p.Details[i] = &anypb.Any{TypeUrl: protobuf.TypePrefix + d.Name, Value: d.Protobuf}
	}
	return status.FromProto(p)
}

// escapedLen returns the length of s in the trailers, where it is percent-encoded as grpc-message.
func escapedLen(s string) int {
	n := len(s)
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' || s[i] == '%' {
			n += 2
		}
	}
	return n
}

// truncate returns s with invalid UTF-8 replaced by U+FFFD. If the result is longer than
// maxMessageBytes in the trailers, truncate shortens it at a character boundary.
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

// errorOf converts err, an error of grpc-go, to a [chassi.Error] with the code, the message and the
// details of its status. If no detail shows that the server sent the status, err is the cause of
// the result, and if ctx is done, ctx.Err() determines the code.
func errorOf(ctx context.Context, err error) error {
	s, ok := status.FromError(err)
	if !ok {
		return chassi.ErrorOf(err)
	}
	e := &chassi.Error{Code: chassi.Code(s.Code()), Message: s.Message()}
	if s.Code() > codes.Unauthenticated {
		e.Code = chassi.Unknown // as required by the gRPC specification
	}
	e.Reason = e.Code.String()
	fromServer := protobuf.ReadErrorDetails(e, detailsOf(s))
	e.RetryAfter = transport.RetryAfter(int64(e.RetryAfter), 1)
	if fromServer {
		return e
	}
	e.Cause = errors.Join(err, ctx.Err())
	if ended := ctx.Err(); ended != nil {
		return chassi.ErrorOf(ended).WithCause(e.Cause)
	}
	return e
}

func detailsOf(s *status.Status) []protobuf.ErrorDetail {
	received := s.Proto().GetDetails()
	details := make([]protobuf.ErrorDetail, len(received))
	for i, d := range received {
		details[i] = protobuf.ErrorDetail{Name: string(d.MessageName()), Protobuf: d.GetValue()}
	}
	return details
}
