package httpapi

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"reflect"
	"strings"
	"sync"

	"github.com/chassi-go/chassi/internal/strictjson"
)

var jsonType = []string{"application/json"}

// bufferBytes is the maximum capacity, in bytes, of a buffer that is returned to the pool, so that
// a rare large body does not stay in memory.
const bufferBytes = 64 << 10

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 1024); return &b }}

func getBuffer() *[]byte { return buffers.Get().(*[]byte) } //nolint:forcetypeassert // the pool holds nothing else

func putBuffer(b *[]byte) {
	if cap(*b) <= bufferBytes {
		*b = (*b)[:0]
		buffers.Put(b)
	}
}

// Decode implements [chassi.Codec]. It sets the fields of request from the body, path, query and
// header of the HTTP request.
func (x *exchange) Decode(request any) error {
	if x.route.connect != nil {
		return x.decodeConnect(request)
	}
	if x.route.params.file != nil {
		return x.decodeFile(request)
	}
	if x.route.hasBody {
		if err := x.decodeBody(request); err != nil {
			return err
		}
	}
	return x.route.params.fill(request, x.r)
}

// decodeBody sets the fields of request that are in the JSON body. An empty body is equivalent to
// an empty object: validation rules determine which fields are required.
func (x *exchange) decodeBody(request any) error {
	if x.r.ContentLength == 0 {
		x.read = true
		return nil
	}
	if err := checkMediaType(x.r.Header); err != nil {
		return err
	}
	buffer := getBuffer()
	defer putBuffer(buffer)
	if err := x.readBody(buffer, x.r.Body, x.r.ContentLength); err != nil {
		return err
	}
	if x.server.wrapped == nil { // else HTTP middleware may read it, too
		_ = x.r.Body.Close() // so that net/http does not look for the rest of it
	}
	if len(*buffer) == 0 {
		return nil
	}
	return strictjson.Decode(*buffer, request, x.server.config.MaxJSONDepth)
}

// checkMediaType returns an error unless the headers h state that the body is JSON in UTF-8 without
// a content coding.
func checkMediaType(h http.Header) error {
	if values := h["Content-Type"]; len(values) == 0 || !strictjson.IsMediaType(values[0]) {
		return errMediaType
	}
	if values := h["Content-Encoding"]; len(values) > 0 && values[0] != "" && !strings.EqualFold(values[0], "identity") {
		return errMediaType
	}
	return nil
}

// readBody reads a whole body into buffer. From is the reader of the body, and length is its
// declared length in bytes, or -1 if the length is unknown. readBody returns an error if the body
// is longer than the limit of the route, would exceed a limit for large bodies, or cannot be read.
// It reads at most one byte past the limit of the route.
func (x *exchange) readBody(buffer *[]byte, from io.Reader, length int64) error {
	limit := x.route.maxBody
	if length > limit {
		return tooLarge(limit)
	}
	b := *buffer
	for {
		if len(b) > smallBody && x.held == 0 {
			if err := x.holdBody(length); err != nil {
				return err
			}
		}
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := from.Read(b[len(b):min(int64(cap(b)), past(limit))])
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

// past returns limit plus 1, or limit if the sum would overflow.
func past(limit int64) int64 { return limit + min(1, math.MaxInt64-limit) }

func tooLarge(limit int64) error { return tooLong("The body is", limit) }

// tooLong returns the error for a body, or a part of a body, that is larger than limit bytes. The
// message of the error begins with part, such as "The body is".
func tooLong(part string, limit int64) error {
	e := *errBodyTooLarge.err
	e.Message = fmt.Sprintf("%s larger than %d bytes", part, limit)
	return &statusError{errBodyTooLarge.status, &e}
}

// readFailed returns the error for a body that cannot be read: errBodyTimeout if the client was too
// slow, and errMalformed otherwise.
func readFailed(err error) error {
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return &statusError{errBodyTimeout.status, errBodyTimeout.err.WithCause(err)}
	}
	return errMalformed.WithCause(err)
}

// Encode implements [chassi.Codec]. It encodes response into a pooled buffer, which the exchange
// sends after the middleware has returned. Encode itself sends the file of a response, if there is
// one.
func (x *exchange) Encode(response any) error {
	if err := x.out.invalid; err != nil {
		x.closeFile(response)
		return fmt.Errorf("httpapi: the response of %s: %w", x.route.binding.Endpoint.FullName(), err)
	}
	if x.route.response != nil || x.transfer != nil {
		return x.encodeFields(response)
	}
	return x.encodeBody(response)
}

// encodeFields encodes a response with fields that are not sent as JSON, or the response to a
// request with a file.
func (x *exchange) encodeFields(response any) error {
	if x.transfer != nil && x.transfer.failed != nil {
		x.closeFile(response)
		return x.transfer.failed // of a file that the method may take for complete
	}
	a, endpoint := x.route.response, x.route.binding.Endpoint
	if a == nil {
		return x.encodeBody(response)
	}
	v := reflect.ValueOf(response).Elem()
	if err := x.encodeBody(response); err != nil {
		x.closeFile(response)
		return err
	}
	status, err := a.write(v, x.w.Header())
	x.chosen = int16(status)
	if err == nil && x.body != nil {
		*x.body, err = a.strip(*x.body)
	}
	if err != nil {
		x.closeFile(response)
		return fmt.Errorf("httpapi: the response of %s: %w", endpoint.FullName(), err)
	}
	if file := a.fileOf(v); file != nil {
		return x.sendFile(file, cmp.Or(status, endpoint.Status()))
	}
	return nil
}

// closeFile closes the reader of the file in response, which is not sent, if there is one.
func (x *exchange) closeFile(response any) {
	if x.route.response == nil {
		return
	}
	if f := x.route.response.fileOf(reflect.ValueOf(response).Elem()); f != nil && f.Reader != nil {
		(&contentReader{reader: f.Reader}).close()
	}
}

// encodeBody encodes the body of response into the pooled buffer, if the response has a body.
func (x *exchange) encodeBody(response any) error {
	if !x.route.hasResponse && x.route.connect == nil {
		return nil
	}
	if x.body == nil {
		x.body = getBuffer()
	}
	*x.body = (*x.body)[:0]
	if x.route.connect != nil {
		return x.encodeConnect(response)
	}
	if err := strictjson.Append(x.body, response); err != nil {
		return fmt.Errorf("httpapi: encode the response of %s: %w", x.route.binding.Endpoint.FullName(), err)
	}
	return nil
}
