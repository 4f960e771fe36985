package chassi

import "strconv"

// Code says what kind of failure an [Error] is. The sixteen values and their
// numbers are gRPC's canonical status codes (google.rpc.Code). There is no code
// for success: success is a nil error.
type Code uint8

// The sixteen codes.
const (
	Canceled           Code = 1  // the caller gave up
	Unknown            Code = 2  // a foreign error without a code
	InvalidArgument    Code = 3  // the request is wrong whatever the state
	DeadlineExceeded   Code = 4  // time ran out; it may have happened all the same
	NotFound           Code = 5  // the thing asked for does not exist
	AlreadyExists      Code = 6  // the thing to be made exists
	PermissionDenied   Code = 7  // the caller is known and may not
	ResourceExhausted  Code = 8  // a limit or quota of the caller is used up
	FailedPrecondition Code = 9  // the state forbids it until somebody changes it
	Aborted            Code = 10 // lost a race; the caller may start over
	OutOfRange         Code = 11 // past the valid range
	Unimplemented      Code = 12 // no such operation
	Internal           Code = 13 // a fault of ours
	Unavailable        Code = 14 // not now; the caller may try again later
	DataLoss           Code = 15 // data is lost for good
	Unauthenticated    Code = 16 // the caller is not known
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

// Codes returns all sixteen, in the order of their numbers. Tests walk it to
// prove that a transport maps every one.
func Codes() []Code {
	codes := make([]Code, 0, len(codeNames)-1)
	for c := Canceled; c <= Unauthenticated; c++ {
		codes = append(codes, c)
	}
	return codes
}

// String returns the code in snake_case, "code_99" for a value out of range.
func (c Code) String() string {
	if c >= Canceled && c <= Unauthenticated {
		return codeNames[c]
	}
	return "code_" + strconv.Itoa(int(c))
}

// Fault tells whether the code stands for a fault of the side that answered, and
// not for something its caller did or may try again.
func (c Code) Fault() bool { return c == Internal || c == Unknown || c == DataLoss }
