package httpapi

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"net/http"
)

// requestIDHeader is the header as people write it; in an [http.Header] it
// stands under X-Request-Id.
const requestIDHeader = "X-Request-ID"

// requestID returns the X-Request-ID that came with the request, if it is one
// and is 8 to 128 characters that can stand in a header and a log line; otherwise
// a new one of 128 random bits, in one allocation. It is no secret, so the
// runtime's own generator will do: ChaCha8, seeded by the system at start. A
// traceparent is another matter, left to tracing.
func requestID(h http.Header) string {
	if values := h["X-Request-Id"]; len(values) == 1 && isRequestID(values[0]) {
		return values[0]
	}
	var raw [16]byte
	binary.LittleEndian.PutUint64(raw[:8], rand.Uint64())
	binary.LittleEndian.PutUint64(raw[8:], rand.Uint64())
	var text [32]byte
	hex.Encode(text[:], raw[:])
	return string(text[:])
}

func isRequestID(id string) bool {
	if len(id) < 8 || len(id) > 128 {
		return false
	}
	for i := range len(id) {
		switch c := id[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case c == '-', c == '_', c == '.', c == '~', c == ':', c == '+', c == '/', c == '=', c == '@':
		default:
			return false
		}
	}
	return true
}
