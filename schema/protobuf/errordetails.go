package protobuf

import (
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/chassi-go/chassi"
	"google.golang.org/protobuf/encoding/protowire"
)

// TypePrefix is the part of a type URL before the full name of the message.
const TypePrefix = "type.googleapis.com/"

const (
	// maxDetails is the maximum number of details of a method that are sent with one error. The
	// limit is documented at [chassi.Error.WithDetails].
	maxDetails = 16
	// maxReceivedDetails is the maximum number of details of one error that are decoded: the
	// details of the method and the three details of google.rpc.
	maxReceivedDetails = maxDetails + 3
	// anyOverhead is the maximum size in bytes of a field's tag and length in a
	// google.protobuf.Any.
	anyOverhead = 4
)

// ErrorDetail is one encoded detail of an error.
type ErrorDetail struct {
	Name     string // the full name of the message
	Protobuf []byte // the encoded message

	plan *Plan // nil if unknown
}

// Messages of google/rpc/error_details.proto, which carry the reason, the retry delay and the
// violations of an error, whichever service returns it.
type (
	errorInfo struct {
		Reason string `json:"reason"`
		Domain string `json:"domain"`
	}
	retryInfo struct {
		RetryDelay time.Duration `json:"retryDelay"`
	}
	badRequest struct {
		FieldViolations []fieldViolation `json:"fieldViolations"`
	}
	fieldViolation struct {
		Field       string `json:"field"`
		Description string `json:"description"`
	}
)

// receivedDelay is a received retryInfo, whose delay may be out of the range of a [time.Duration].
type receivedDelay struct {
	RetryDelay struct {
		Seconds int64 `json:"seconds"`
		Nanos   int32 `json:"nanos"`
	} `json:"retryDelay"`
}

func (d *receivedDelay) duration() time.Duration {
	const most = math.MaxInt64/int64(time.Second) - 3 // nanos are at most 2 s
	return time.Duration(min(max(d.RetryDelay.Seconds, -most), most))*time.Second + time.Duration(d.RetryDelay.Nanos)
}

func (*errorInfo) DetailName() string  { return "google.rpc.ErrorInfo" }
func (*retryInfo) DetailName() string  { return "google.rpc.RetryInfo" }
func (*badRequest) DetailName() string { return "google.rpc.BadRequest" }

// ErrorDetails returns the details that a client receives for e, an error of a method of service: a
// google.rpc.ErrorInfo with the reason and the service, unless the reason is empty or the name of
// the code; a RetryInfo with the retry delay, if there is a delay; a BadRequest with the
// violations, if there are any; and the first 16 details of e. ErrorDetails omits details that
// cannot be encoded, and details and violations that do not fit into maxBytes after the preceding
// ones.
func ErrorDetails(service string, e *chassi.Error, maxBytes int) []ErrorDetail {
	w := detailWriter{free: maxBytes}
	if e.Reason != "" && e.Reason != e.Code.String() && utf8.ValidString(e.Reason) { // the name of the code is implied
		w.add(&errorInfo{Reason: e.Reason, Domain: service})
	}
	if e.RetryAfter > 0 {
		w.add(&retryInfo{RetryDelay: e.RetryAfter})
	}
	if len(e.Violations) > 0 {
		w.addViolations(e.Violations)
	}
	for _, d := range e.Details[:min(len(e.Details), maxDetails)] {
		w.add(d)
	}
	return w.details
}

// detailWriter collects the encoded details that fit into a limited number of bytes.
type detailWriter struct {
	details []ErrorDetail
	free    int // bytes left
}

func (w *detailWriter) add(d chassi.Detail) {
	encoded, err := encodeDetail(d)
	if err != nil {
		return
	}
	size := len(TypePrefix) + len(encoded.Name) + len(encoded.Protobuf) + 2*anyOverhead
	if size > w.free {
		return
	}
	w.free -= size
	w.details = append(w.details, encoded)
}

// addViolations adds a badRequest with the first violations, as many as fit.
func (w *detailWriter) addViolations(violations []chassi.Violation) {
	bad := new(badRequest)
	size := len(TypePrefix) + len(bad.DetailName()) + 2*anyOverhead
	for _, v := range violations {
		one := fieldViolation{Field: strings.ToValidUTF8(v.Field, "\uFFFD"), Description: strings.ToValidUTF8(v.Message, "\uFFFD")}
		size += anyOverhead + 2 + protowire.SizeBytes(len(one.Field)) + protowire.SizeBytes(len(one.Description))
		if size > w.free {
			break
		}
		bad.FieldViolations = append(bad.FieldViolations, one)
	}
	if len(bad.FieldViolations) > 0 {
		w.add(bad)
	}
}

// ReadErrorDetails sets the reason, retry delay, violations and details of e from details, which a
// server has sent, and reports whether it has used any of them. The server is not trusted:
// ReadErrorDetails ignores details with invalid names, malformed details of google.rpc, and all
// details after the first 19. It does not decode other details, and does not check the delay, which
// may be very long or negative.
func ReadErrorDetails(e *chassi.Error, details []ErrorDetail) (understood bool) {
	r := detailReader{err: e}
	for _, d := range details[:min(len(details), maxReceivedDetails)] {
		if r.read(d) {
			understood = true
		}
	}
	return understood
}

// detailReader sets the fields of err from details. It records which of the three messages of
// google.rpc it has read, because a further message of the same type is a detail of the method.
type detailReader struct {
	err                       *chassi.Error
	reason, violations, delay bool
}

func (r *detailReader) read(d ErrorDetail) bool {
	switch {
	case d.Name == (*errorInfo)(nil).DetailName() && !r.reason:
		var info errorInfo
		if r.reason = decodeDetail(d.Protobuf, &info) == nil && info.Reason != ""; r.reason {
			r.err.Reason = info.Reason
		}
		return r.reason
	case d.Name == (*badRequest)(nil).DetailName() && !r.violations:
		var bad badRequest
		if r.violations = decodeDetail(d.Protobuf, &bad) == nil; !r.violations {
			return false
		}
		for _, v := range bad.FieldViolations {
			r.err.Violations = append(r.err.Violations, chassi.Violation{Field: v.Field, Message: v.Description})
		}
		return true
	case d.Name == (*retryInfo)(nil).DetailName() && !r.delay:
		var retry receivedDelay
		if r.delay = decodeDetail(d.Protobuf, &retry) == nil; r.delay {
			r.err.RetryAfter = retry.duration()
		}
		return r.delay
	default:
		received, ok := ReceivedDetail(d.Name, d.Protobuf)
		if ok = ok && len(r.err.Details) < maxDetails; ok {
			r.err.Details = append(r.err.Details, received)
		}
		return ok
	}
}
