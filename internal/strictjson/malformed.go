package strictjson

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/safetext"
	"github.com/chassi-go/chassi/schema/gotype"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// malformed converts err, an error of the JSON library, to an InvalidArgument error that names the
// invalid field of data, a message of type root. The text of err, which may quote the client's
// data, is only in the cause; but the violation has the text of an error from UnmarshalText, as
// [safetext.Reason] returns it.
func malformed(err error, data []byte, root reflect.Type) error {
	v := chassi.Violation{Message: "is not valid JSON"}
	var semantic *json.SemanticError
	var syntactic *jsontext.SyntacticError
	switch {
	case errors.As(err, &semantic):
		v.Field, v.Message = fieldOf(semantic.JSONPointer, root), reasonOf(semantic, data)
	case errors.As(err, &syntactic):
		v.Field = fieldOf(syntactic.JSONPointer, root)
		switch {
		case errors.Is(err, jsontext.ErrDuplicateName):
			v.Message = "is given twice"
		case syntactic.ByteOffset > 0:
			v.Message = fmt.Sprintf("is not valid JSON at byte %d", syntactic.ByteOffset)
		}
	}
	return errMalformed.WithViolations(v).WithCause(err)
}

var textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()

// reasonOf returns the message of the violation for e, an error about a value in data.
func reasonOf(e *json.SemanticError, data []byte) string {
	t, kind := e.GoType, e.JSONKind
	switch {
	case errors.Is(e, json.ErrUnknownName):
		return "is not a known member"
	case errors.Is(e, errDuration):
		return errDuration.Error()
	case t == nil || kind == 0:
		return "has the wrong type or form"
	case kind == '"' && t == reflect.TypeFor[time.Time]():
		return "must be a time such as 2006-01-02T15:04:05Z"
	case kind == '"' && e.Err != nil && reflect.PointerTo(t).Implements(textUnmarshaler):
		return safetext.Reason(e.Err, textAt(data, e.JSONPointer))
	case kind == '"' && e.Err != nil && (t.Kind() == reflect.Slice || t.Kind() == reflect.Array):
		return "must be base64"
	case kind == '0' && t.Kind() >= reflect.Int && t.Kind() <= reflect.Uintptr:
		return wholeNumber(t)
	case kind == '0' && e.Err != nil && (t.Kind() == reflect.Float32 || t.Kind() == reflect.Float64):
		return "is a number out of range"
	default:
		return "cannot be a JSON " + kindName(kind)
	}
}

// textAt returns the string at pointer in data, or "" if there is no string. The errors of the JSON
// library do not contain the string.
func textAt(data []byte, pointer jsontext.Pointer) string {
	for d := jsontext.NewDecoder(bytes.NewReader(data)); ; {
		token, err := d.ReadToken()
		if err != nil {
			return ""
		}
		in, n := d.StackIndex(d.StackDepth())
		if isName := in == '{' && n%2 == 1; token.Kind() == '"' && !isName && d.StackPointer() == pointer {
			return token.String()
		}
	}
}

// wholeNumber returns the message of a violation that states the range of t, an integer type.
func wholeNumber(t reflect.Type) string {
	if t.Kind() >= reflect.Uint {
		return "must be a whole number from 0 to " + strconv.FormatUint(math.MaxUint64>>(64-t.Bits()), 10)
	}
	limit := int64(math.MaxInt64 >> (64 - t.Bits()))
	return fmt.Sprintf("must be a whole number from %d to %d", -limit-1, limit)
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

// fieldOf returns the notation that violations use for the value at pointer in a message of type
// root, such as items[2].id or labels["k"]. It truncates the result to [safetext.MaxName] bytes,
// because the client chooses the names.
func fieldOf(pointer jsontext.Pointer, root reflect.Type) string {
	t, err := gotype.Of(root)
	if err != nil {
		t = nil
	}
	var b strings.Builder
	for token := range pointer.Tokens() {
		if t != nil {
			t = t.Indirect()
		}
		switch {
		case t != nil && (t.Kind == gotype.List || t.Kind == gotype.Array):
			b.WriteString("[" + token + "]")
		case t != nil && t.Kind == gotype.Map:
			b.WriteString("[" + strconv.Quote(safetext.Clip(token, safetext.MaxName)) + "]")
		case b.Len() > 0:
			b.WriteString("." + token)
		default:
			b.WriteString(token)
		}
		if b.Len() > safetext.MaxName {
			break
		}
		t = below(t, token)
	}
	return safetext.Clip(b.String(), safetext.MaxName)
}

// below returns the type of the member or element of t at token, or nil if the type is unknown.
func below(t *gotype.Type, token string) *gotype.Type {
	switch {
	case t == nil:
		return nil
	case t.Kind == gotype.Struct:
		return memberOf(t, token)
	default:
		return t.Elem
	}
}
