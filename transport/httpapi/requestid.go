package httpapi

import (
	"net/http"

	"github.com/chassi-go/chassi/transport"
)

// requestIDHeader is the usual spelling of the header; its key in an [http.Header] is
// X-Request-Id.
const requestIDHeader = "X-Request-ID"

// requestID returns the X-Request-ID of the request if it is valid, otherwise a new id.
func requestID(h http.Header) string {
	if values := h[transport.RequestIDKey]; len(values) == 1 {
		return transport.RequestID(values[0])
	}
	return transport.RequestID("")
}
