package transport

import (
	"fmt"

	"github.com/chassi-go/chassi"
)

// MaxMetadataBytes is the maximum total length, in bytes, of the names and values of the metadata
// that a client or a server sends with one message. Servers accept less by default.
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
	// received. The method has already run.
	ErrResponseTooLarge = chassi.NewError(chassi.ResourceExhausted, "response_too_large", "The response is too large")
)

// CheckMetadata returns an error if one of the transports could not carry m, the metadata of an
// outgoing call. The rules are the same on all transports: a name consists of 1 to 255 ASCII
// letters, digits, '-', '_' and '.', a value consists of printable ASCII, and all names and values
// together have at most [MaxMetadataBytes]. Metadata that is not a [*Pairs] is not checked.
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
// for the log; the client receives an error with the code [chassi.Internal].
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
	return fmt.Errorf("the metadata has %d bytes, more than the limit of %d", size, MaxMetadataBytes)
}

func (p *Pairs) size() (size int) {
	for _, pair := range *p {
		size += len(pair.Key) + len(pair.Value)
	}
	return size
}

// CheckPair returns an error if one of the transports could not carry key as a metadata name, or
// value as a metadata value.
func CheckPair(key, value string) error {
	switch {
	case !IsMetadataKey(key):
		return fmt.Errorf("metadata %.100q: a name must consist of 1 to %d ASCII letters, digits, '-', '_' and '.'", key, maxMetadataKey)
	case !IsMetadataValue(value):
		return fmt.Errorf("metadata %s: the value must be printable ASCII; encode it, for example in base64", key)
	}
	return nil
}

// maxMetadataKey is the maximum length of a metadata name in bytes. It is the limit of AMQP.
const maxMetadataKey = 255

// IsMetadataKey reports whether key is a valid metadata name on all transports, that is, whether
// key consists of 1 to 255 ASCII letters, digits, '-', '_' and '.'.
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

// IsMetadataValue reports whether value is a valid metadata value on all transports, that is,
// whether value is empty or consists of printable ASCII.
func IsMetadataValue(value string) bool {
	for i := range len(value) {
		if value[i] < ' ' || value[i] > '~' {
			return false
		}
	}
	return true
}

// Maximum sizes, in bytes, of the message and of all violations of an error that is sent.
const (
	maxErrorMessage    = 2 << 10
	maxErrorViolations = 16 << 10
)

// BoundError returns e if the message of e has at most 2 KiB and the violations of e have at most
// 16 KiB in total. Otherwise, it returns a copy of e, in which a longer message is truncated, and
// the violations end before the first one that exceeds the limit, so that any error can be sent.
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

// cut returns the longest prefix of s that has at most end bytes and does not end within a UTF-8
// sequence. The length of s must be greater than end.
func cut(s string, end int) string {
	for end > 0 && s[end]&0xC0 == 0x80 {
		end--
	}
	return s[:end]
}
