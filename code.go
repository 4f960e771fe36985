package chassi

import (
	"slices"
	"strconv"
)

// Code is the kind of failure of an [Error]. The sixteen codes and their numbers are the
// canonical status codes of gRPC (google.rpc.Code). There is no code for success: a successful
// call returns a nil error.
type Code uint8

// The sixteen codes.
const (
	Canceled           Code = 1  // the client canceled the call
	Unknown            Code = 2  // an error from another system, without a code
	InvalidArgument    Code = 3  // the request is invalid, whatever the state of the system
	DeadlineExceeded   Code = 4  // the deadline passed; the operation may have completed
	NotFound           Code = 5  // the requested entity does not exist
	AlreadyExists      Code = 6  // the entity to create already exists
	PermissionDenied   Code = 7  // the client is authenticated but not permitted
	ResourceExhausted  Code = 8  // a limit or quota of the client is exhausted
	FailedPrecondition Code = 9  // the state of the system forbids the operation; a retry does not help
	Aborted            Code = 10 // a concurrency conflict; the client may start over
	OutOfRange         Code = 11 // a value or position is past the valid range
	Unimplemented      Code = 12 // the operation is not implemented
	Internal           Code = 13 // an error of the server
	Unavailable        Code = 14 // temporarily unavailable; the client may retry
	DataLoss           Code = 15 // unrecoverable loss or corruption of data
	Unauthenticated    Code = 16 // the client is not authenticated
)

var codeNames = [...]string{
	Canceled:           "canceled",
	Unknown:            "unknown",
	InvalidArgument:    "invalid_argument",
	DeadlineExceeded:   "deadline_exceeded",
	NotFound:           "not_found",
	AlreadyExists:      "already_exists",
	PermissionDenied:   "permission_denied",
	ResourceExhausted:  "resource_exhausted",
	FailedPrecondition: "failed_precondition",
	Aborted:            "aborted",
	OutOfRange:         "out_of_range",
	Unimplemented:      "unimplemented",
	Internal:           "internal",
	Unavailable:        "unavailable",
	DataLoss:           "data_loss",
	Unauthenticated:    "unauthenticated",
}

// Codes returns all sixteen codes in numerical order. Tests use it to check that a transport
// maps every code.
func Codes() []Code {
	codes := make([]Code, 0, len(codeNames)-1)
	for c := Canceled; c <= Unauthenticated; c++ {
		codes = append(codes, c)
	}
	return codes
}

// ParseCode returns the code with the given name, as returned by [Code.String], and
// whether there is such a code.
func ParseCode(name string) (Code, bool) {
	if i := slices.Index(codeNames[Canceled:], name); i >= 0 {
		return Canceled + Code(i), true
	}
	return 0, false
}

// String returns the name of the code in snake_case. For a value that is not one of the sixteen
// codes it returns "code_" and the number, such as "code_99".
func (c Code) String() string {
	if c >= Canceled && c <= Unauthenticated {
		return codeNames[c]
	}
	return "code_" + strconv.Itoa(int(c))
}

// IsServerError reports whether the code is [Internal], [Unknown] or [DataLoss], which indicate
// an error of the server, in contrast to an error of the client or a temporary condition.
func (c Code) IsServerError() bool { return c == Internal || c == Unknown || c == DataLoss }
