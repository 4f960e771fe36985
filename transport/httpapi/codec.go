package httpapi

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"strings"
	"sync"

	"github.com/chassi-go/chassi"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

var (
	jsonType = []string{"application/json"}

	// The library refuses duplicate names, invalid UTF-8, trailing data and wrong
	// case by itself.
	strict = json.JoinOptions(json.RejectUnknownMembers(true))
	plain  = json.JoinOptions(json.Deterministic(true))
)

// bufferBytes is what a pooled buffer may keep: a rare large body should not
// pin its memory.
const bufferBytes = 64 << 10

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 1024); return &b }}

func getBuffer() *[]byte { return buffers.Get().(*[]byte) } //nolint:forcetypeassert // the pool holds nothing else

func putBuffer(b *[]byte) {
	if cap(*b) <= bufferBytes {
		*b = (*b)[:0]
		buffers.Put(b)
	}
}

// Decode fills request from body, path, query and header.
func (x *exchange) Decode(request any) error {
	if x.route.hasBody {
		if err := x.decodeBody(request); err != nil {
			return err
		}
	}
	return x.route.params.fill(request, x.r)
}

func (x *exchange) decodeBody(request any) error {
	if err := checkMediaType(x.r.Header); err != nil {
		return err
	}
	buffer := getBuffer()
	defer putBuffer(buffer)
	if err := x.readBody(buffer); err != nil {
		return err
	}
	if err := checkDepth(*buffer, x.server.config.MaxJSONDepth); err != nil {
		return err
	}
	if err := json.Unmarshal(*buffer, request, strict); err != nil {
		return malformed(err)
	}
	return nil
}

// checkMediaType wants JSON, in UTF-8, as it is.
func checkMediaType(h http.Header) error {
	if values := h["Content-Type"]; len(values) == 0 || values[0] != "application/json" {
		media, params, err := mime.ParseMediaType(h.Get("Content-Type"))
		if err != nil || media != "application/json" || (params["charset"] != "" && !strings.EqualFold(params["charset"], "utf-8")) {
			return errMediaType
		}
	}
	if values := h["Content-Encoding"]; len(values) > 0 && values[0] != "" && !strings.EqualFold(values[0], "identity") {
		return errMediaType
	}
	return nil
}

// readBody reads the whole body, one byte past the limit at most.
func (x *exchange) readBody(buffer *[]byte) error {
	limit := x.server.config.MaxBodyBytes
	if x.r.ContentLength > limit {
		return tooLarge(limit)
	}
	b := *buffer
	for {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := x.r.Body.Read(b[len(b):min(cap(b), int(limit)+1)])
		b = b[:len(b)+n]
		*buffer = b
		switch {
		case int64(len(b)) > limit:
			return tooLarge(limit)
		case err == nil:
		case errors.Is(err, io.EOF):
			x.read = true
			return nil
		default:
			return readFailed(err)
		}
	}
}

func tooLarge(limit int64) error {
	e := *errBodyTooLarge.err
	e.Message = fmt.Sprintf("The body is larger than %d bytes", limit)
	return &statusError{errBodyTooLarge.status, &e}
}

// readFailed tells a slow client from one that went away or wrote nonsense.
func readFailed(err error) error {
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return &statusError{errBodyTimeout.status, errBodyTimeout.err.WithCause(err)}
	}
	return errMalformed.WithCause(err)
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

// Encode renders response into a pooled buffer; the exchange sends it once the
// middleware has returned.
func (x *exchange) Encode(response any) error {
	if !x.route.hasResponse {
		return nil
	}
	if x.body == nil {
		x.body = getBuffer()
	}
	writer := sliceWriter{x.body}
	*x.body = (*x.body)[:0]
	if err := json.MarshalWrite(&writer, response, plain); err != nil {
		return fmt.Errorf("httpapi: encode the response of %s: %w", x.route.binding.Endpoint.FullName(), err)
	}
	return nil
}

type sliceWriter struct{ b *[]byte }

func (w *sliceWriter) Write(p []byte) (int, error) {
	*w.b = append(*w.b, p...)
	return len(p), nil
}
