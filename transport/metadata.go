package transport

import (
	"fmt"

	"github.com/chassi-go/chassi"
)

// MaxMetadataBytes is the maximum total length of the names and values of metadata that a
// client or a server sends with one message. Servers accept less by default.
const MaxMetadataBytes = 64 << 10

var (
	errMetadata = chassi.NewError(chassi.InvalidArgument, "invalid_metadata", "The metadata of the call cannot be sent")

	// ErrMetadataTooLarge is the error of a call whose metadata is too large to be sent, or too
	// large for the receiver.
	ErrMetadataTooLarge = chassi.NewError(chassi.ResourceExhausted, "metadata_too_large", "The metadata of the call is too large")
	// ErrBodyTooLarge is the error of a request that is too large for the receiver or an
	// intermediary.
	ErrBodyTooLarge = chassi.NewError(chassi.ResourceExhausted, "body_too_large", "The message is too large")
	// ErrResponseTooLarge is the error of a call whose response is too large to be sent or
	// received. The method has run.
	ErrResponseTooLarge = chassi.NewError(chassi.ResourceExhausted, "response_too_large", "The response is too large to be sent")
)

// CheckMetadata returns an error if one of the transports could not carry m, the metadata of an
// outgoing call. The rules are the same on all transports: a name has 1 to 255 letters, digits,
// '-', '_' and '.', a value consists of printable ASCII, and all names and values together have at
// most [MaxMetadataBytes]. Metadata that is not a [*Pairs] is not checked.
func CheckMetadata(m chassi.Metadata) error {
	pairs, ok := m.(*Pairs)
	if !ok {
		return nil
	}
	for _, p := range *pairs {
		if err := CheckPair(p.Key, p.Value); err != nil {
			return errMetadata.WithCause(err)
		}
	}
	if size := pairs.size(); size > MaxMetadataBytes {
		return ErrMetadataTooLarge.WithCause(tooMuch(size))
	}
	return nil
}

// CheckResponse returns an error if one of the transports could not carry pairs, the metadata that
// a method has set on its response. The rules are those of [CheckMetadata]. The error is intended
// for the log; the client gets [chassi.Internal].
func CheckResponse(pairs Pairs) error {
	for _, p := range pairs {
		if err := CheckPair(p.Key, p.Value); err != nil {
			return err
		}
	}
	if size := pairs.size(); size > MaxMetadataBytes {
		return tooMuch(size)
	}
	return nil
}

func tooMuch(size int) error {
	return fmt.Errorf("%d bytes of metadata exceed the limit of %d", size, MaxMetadataBytes)
}

func (p *Pairs) size() (size int) {
	for _, pair := range *p {
		size += len(pair.Key) + len(pair.Value)
	}
	return size
}

// CheckPair returns an error for a name or a value that one of the transports could not carry.
func CheckPair(key, value string) error {
	switch {
	case !IsMetadataKey(key):
		return fmt.Errorf("metadata %.100q: a name must have only letters, digits, '-', '_' and '.', and at most %d bytes", key, maxMetadataKey)
	case !IsMetadataValue(value):
		return fmt.Errorf("metadata %s: the value must be printable ASCII; encode it, for example in base64", key)
	}
	return nil
}

// maxMetadataKey is the maximum length of a metadata name in bytes, which is the limit of AMQP.
const maxMetadataKey = 255

// IsMetadataKey reports whether key is a valid metadata name on all transports.
func IsMetadataKey(key string) bool {
	for i := range len(key) {
		switch c := key[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return key != "" && len(key) <= maxMetadataKey
}

// IsMetadataValue reports whether value is printable ASCII.
func IsMetadataValue(value string) bool {
	for i := range len(value) {
		if value[i] < ' ' || value[i] > '~' {
			return false
		}
	}
	return true
}

// Limits of an error that is sent, in bytes.
const (
	maxErrorMessage    = 2 << 10
	maxErrorViolations = 16 << 10
)

// BoundError returns e with a message of at most 2 KiB and violations of at most 16 KiB in
// total, so that any error can be sent. It returns e itself if it is within the limits.
func BoundError(e *chassi.Error) *chassi.Error {
	size, fit := 0, 0
	for _, v := range e.Violations {
		if size += len(v.Field) + len(v.Message); size > maxErrorViolations {
			break
		}
		fit++
	}
	if len(e.Message) <= maxErrorMessage && fit == len(e.Violations) {
		return e
	}
	bounded := *e
	bounded.Violations = e.Violations[:fit]
	if len(e.Message) > maxErrorMessage {
		bounded.Message = cut(e.Message, maxErrorMessage)
	}
	return &bounded
}

// cut returns at most the first end bytes of s, without a partial character at their end. The
// length of s must be greater than end.
func cut(s string, end int) string {
	for end > 0 && s[end]&0xC0 == 0x80 {
		end--
	}
	return s[:end]
}
