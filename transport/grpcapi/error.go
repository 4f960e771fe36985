package grpcapi

import (
	"context"
	"errors"

	"github.com/chassi-go/chassi"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"
)

// statusOf returns what the caller sees of err, hiding what it hides. The codes
// are gRPC's, number by number.
func statusOf(service string, err error) *status.Status {
	e := chassi.ErrorOf(err)
	s := status.New(codes.Code(e.Code), e.Message)
	details := []protoadapt.MessageV1{&errdetails.ErrorInfo{Reason: e.Reason, Domain: service}}
	if len(e.Violations) > 0 {
		bad := new(errdetails.BadRequest)
		for _, v := range e.Violations {
			bad.FieldViolations = append(bad.FieldViolations, &errdetails.BadRequest_FieldViolation{Field: v.Field, Description: v.Message})
		}
		details = append(details, bad)
	}
	if e.RetryAfter > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(e.RetryAfter)})
	}
	if detailed, err := s.WithDetails(details...); err == nil {
		return detailed
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
	fromThere := false
	for _, detail := range s.Details() {
		switch d := detail.(type) {
		case *errdetails.ErrorInfo:
			e.Reason, fromThere = d.GetReason(), true
		case *errdetails.BadRequest:
			for _, v := range d.GetFieldViolations() {
				e.Violations = append(e.Violations, chassi.Violation{Field: v.GetField(), Message: v.GetDescription()})
			}
		case *errdetails.RetryInfo:
			e.RetryAfter = d.GetRetryDelay().AsDuration()
		}
	}
	if fromThere {
		return e
	}
	e.Cause = errors.Join(err, ctx.Err())
	if ended := ctx.Err(); ended != nil {
		return chassi.ErrorOf(ended).WithCause(e.Cause)
	}
	return e
}
