package httpapi

import (
	"net/http"

	"github.com/chassi-go/chassi/transport"
)

// requestIDHeader is the header as people write it; in an [http.Header] it
// stands under X-Request-Id.
const requestIDHeader = "X-Request-ID"

// requestID returns the X-Request-ID that came with the request, if there is one
// and it is fit to be one, otherwise a new one.
func requestID(h http.Header) string {
	if values := h[transport.RequestIDKey]; len(values) == 1 {
		return transport.RequestID(values[0])
	}
	return transport.RequestID("")
}
