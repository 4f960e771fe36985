// Package strictjson decodes and encodes messages as JSON. The decoding of requests is strict: an
// unknown or duplicate member, a member name in the wrong case, a value of the wrong type, trailing
// data, invalid UTF-8 and excessive nesting are errors. An error names the field if it is known.
package strictjson

import (
	"bytes"
	"errors"
	"fmt"
	"mime"
	"reflect"
	"strings"

	"github.com/chassi-go/chassi"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

var errMalformed = chassi.NewError(chassi.InvalidArgument, "malformed_request", "The request is malformed")

// IsMediaType reports whether value, the value of a Content-Type header, is application/json
// without a charset or with the charset UTF-8. It also accepts "utf8" for the registered name
// "utf-8", as other parsers do.
func IsMediaType(value string) bool {
	if value == "application/json" {
		return true
	}
	media, params, err := mime.ParseMediaType(value)
	if err != nil || media != "application/json" {
		return false
	}
	charset, given := params["charset"]
	return !given || strings.EqualFold(charset, "utf-8") || strings.EqualFold(charset, "utf8")
}

// Decode decodes data, a JSON object, into message, a pointer to a struct. If data is malformed or
// nested deeper than maxDepth levels, Decode returns a [chassi.InvalidArgument] error that names
// the field if it is known. Decode returns the same error for null, except as the value of a
// pointer, an interface, a type that decodes JSON itself, or a slice or map that is not decoded from
// text. The violations in the error do not quote values. They include the text of an error from
// UnmarshalText, in which an ellipsis replaces a value of 3 bytes or more.
func Decode(data []byte, message any, maxDepth int) error {
	if err := checkDepth(data, maxDepth); err != nil {
		return err
	}
	if err := json.Unmarshal(data, message, optionsFor(message).strict); err != nil {
		return malformed(err, data, reflect.TypeOf(message))
	}
	return refuseNull(data, reflect.TypeOf(message))
}

// DecodeResponse decodes data, a response, into message, a pointer to a struct. It skips unknown
// members, so that a service can add members before its clients know them. It returns an error if
// data is malformed.
func DecodeResponse(data []byte, message any) error {
	if err := json.Unmarshal(data, message, optionsFor(message).lenient); err != nil {
		return fmt.Errorf("strictjson: %w", err)
	}
	return nil
}

// Append appends the JSON encoding of message to buffer. If message cannot be encoded, Append
// returns an error and leaves buffer unchanged.
func Append(buffer *[]byte, message any) error {
	encoders := &optionsFor(message).encoders
	e := encoders.Get().(*encoder) //nolint:forcetypeassert // nothing else is put in
	start := e.values.OutputOffset()
	if err := json.MarshalEncode(e.values, message); err != nil {
		return relativeTo(start, err) // the encoder is left, in the middle of a value
	}
	*buffer = append(*buffer, e.out.Bytes()[:e.out.Len()-1]...) // without the line feed
	if e.out.Cap() <= maxKept {
		e.out.Reset()
		encoders.Put(e)
	}
	return nil
}

// relativeTo makes the offsets in err relative to start, the offset of the message, and returns
// err, which is an error of the JSON library.
func relativeTo(start int64, err error) error {
	if e, ok := errors.AsType[*json.SemanticError](err); ok && e.ByteOffset >= start {
		e.ByteOffset -= start
	}
	if e, ok := errors.AsType[*jsontext.SyntacticError](err); ok && e.ByteOffset >= start {
		e.ByteOffset -= start
	}
	return err
}

// encoder is a JSON encoder that is reused for many messages, because the JSON library takes as
// long to apply the options of a new encoder as to encode a short message.
type encoder struct {
	out    bytes.Buffer
	values *jsontext.Encoder
}

const maxKept = 64 << 10 // in bytes; encoders with larger buffers are not reused

// checkDepth returns an error if body, which has not been decoded yet, is nested deeper than limit
// levels or does not begin with an object.
func checkDepth(body []byte, limit int) error {
	if bytes.Count(body, []byte{'{'})+bytes.Count(body, []byte{'['}) <= limit {
		return wantObject(body)
	}
	depth, inString := 0, false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			if depth++; depth > limit {
				return errMalformed.WithViolations(chassi.Violation{Message: fmt.Sprintf("nests deeper than %d levels", limit)})
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return wantObject(body)
}

func wantObject(body []byte) error {
	for _, c := range body {
		switch c {
		case ' ', '\t', '\r', '\n':
		case '{':
			return nil
		default:
			return errMalformed.WithViolations(chassi.Violation{Message: "the body must be a JSON object"})
		}
	}
	return errMalformed.WithViolations(chassi.Violation{Message: "the body is empty; it must be a JSON object"})
}
