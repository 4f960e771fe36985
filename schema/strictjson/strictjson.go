// Package strictjson reads and writes messages as JSON. Reading is strict: an
// unknown, duplicate or wrongly cased member, a value of the wrong type, trailing
// data, invalid UTF-8 and too deep nesting are refused with the field named.
package strictjson

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/chassi-go/chassi"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

var (
	// The library refuses duplicate names, invalid UTF-8, trailing data and wrong
	// case by itself.
	strict = json.JoinOptions(json.RejectUnknownMembers(true))
	// An answer may have members that the caller does not know yet.
	lenient = json.JoinOptions(json.RejectUnknownMembers(false))
	plain   = json.JoinOptions(json.Deterministic(true))

	errMalformed = chassi.NewError(chassi.InvalidArgument, "malformed_request", "The request is malformed")
)

// Decode reads data, a JSON object, into message, a pointer to a struct. It
// returns a [chassi.InvalidArgument] that names the field for what is malformed
// or nests deeper than maxDepth. It never quotes values.
func Decode(data []byte, message any, maxDepth int) error {
	if err := checkDepth(data, maxDepth); err != nil {
		return err
	}
	if err := json.Unmarshal(data, message, strict, durations(message)); err != nil {
		return malformed(err)
	}
	return nil
}

// DecodeAnswer reads what another service answered: members that are not known
// are skipped, so that services can learn new ones before their clients do.
func DecodeAnswer(data []byte, message any) error {
	if err := json.Unmarshal(data, message, lenient, durations(message)); err != nil {
		return fmt.Errorf("strictjson: %w", err)
	}
	return nil
}

// Append writes message behind what buffer holds.
func Append(buffer *[]byte, message any) error {
	writer := sliceWriter{buffer}
	return json.MarshalWrite(&writer, message, plain, durations(message))
}

type sliceWriter struct{ b *[]byte }

func (w *sliceWriter) Write(p []byte) (int, error) {
	*w.b = append(*w.b, p...)
	return len(p), nil
}

// checkDepth refuses what nests deeper than limit, and what is no object,
// before anything is built from it.
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

// malformed names the field that the JSON library stumbled over and says why in
// words of our own: the library's may quote what the client sent.
func malformed(err error) error {
	v := chassi.Violation{Message: "is not valid JSON"}
	var semantic *json.SemanticError
	var syntactic *jsontext.SyntacticError
	switch {
	case errors.As(err, &semantic):
		v.Field, v.Message = fieldOf(semantic.JSONPointer), "has the wrong type or form"
		if errors.Is(err, json.ErrUnknownName) {
			v.Message = "is not a known member"
		} else if semantic.GoType != nil && semantic.JSONKind != 0 {
			v.Message = "cannot be a JSON " + kindName(semantic.JSONKind)
		}
	case errors.As(err, &syntactic):
		v.Field = fieldOf(syntactic.JSONPointer)
		switch {
		case errors.Is(err, jsontext.ErrDuplicateName):
			v.Message = "is given twice"
		case syntactic.ByteOffset > 0:
			v.Message = fmt.Sprintf("is not valid JSON at byte %d", syntactic.ByteOffset)
		}
	}
	return errMalformed.WithViolations(v).WithCause(err)
}

func kindName(k jsontext.Kind) string {
	switch k {
	case 'n':
		return "null"
	case 't', 'f':
		return "boolean"
	case '"':
		return "string"
	case '0':
		return "number"
	case '{':
		return "object"
	default:
		return "array"
	}
}

// fieldOf writes a JSON pointer the way people write fields: "items[2].id". It
// is bounded, because the client chose the names.
func fieldOf(pointer jsontext.Pointer) string {
	var b strings.Builder
	for token := range pointer.Tokens() {
		switch {
		case token != "" && strings.Trim(token, "0123456789") == "" && b.Len() > 0:
			b.WriteString("[" + token + "]")
		case b.Len() > 0:
			b.WriteString("." + token)
		default:
			b.WriteString(token)
		}
		if b.Len() > maxFieldName {
			return strings.ToValidUTF8(b.String()[:maxFieldName], "") + "…"
		}
	}
	return b.String()
}

const maxFieldName = 100
