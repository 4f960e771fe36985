package httpapi

import (
	"net/http"

	"github.com/chassi-go/chassi/transport"
)

// requestIDHeader is the usual spelling of the request ID header. Its key in an [http.Header] is
// X-Request-Id.
const requestIDHeader = "X-Request-ID"

// requestID returns the request ID in h if there is exactly one and it is valid, and otherwise a
// new ID.
func requestID(h http.Header) string {
	if values := h[transport.RequestIDKey]; len(values) == 1 {
		return transport.RequestID(values[0])
	}
	return transport.RequestID("")
}
