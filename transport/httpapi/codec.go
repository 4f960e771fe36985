package httpapi

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"strings"
	"sync"

	"github.com/chassi-go/chassi/schema/strictjson"
)

var jsonType = []string{"application/json"}

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
	return strictjson.Decode(*buffer, request, x.server.config.MaxJSONDepth)
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
		if len(b) > smallBody && x.held == 0 {
			if err := x.holdBody(); err != nil {
				return err
			}
		}
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

// Encode renders response into a pooled buffer; the exchange sends it once the
// middleware has returned.
func (x *exchange) Encode(response any) error {
	if !x.route.hasResponse {
		return nil
	}
	if x.body == nil {
		x.body = getBuffer()
	}
	*x.body = (*x.body)[:0]
	if err := strictjson.Append(x.body, response); err != nil {
		return fmt.Errorf("httpapi: encode the response of %s: %w", x.route.binding.Endpoint.FullName(), err)
	}
	return nil
}
