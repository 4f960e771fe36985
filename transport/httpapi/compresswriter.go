package httpapi

import (
	"io"
	"net/http"
	"strconv"
	"strings"
)

// compressWriter compresses the output of a mounted handler. It decides whether to compress as soon
// as it can tell whether the size reaches the minimum: from Content-Length, from the number of
// bytes written so far, at a flush, or at the end. Until then, it buffers the header and the body.
// http.ResponseController reaches the underlying writer through Unwrap.
type compressWriter struct {
	http.ResponseWriter
	request  *http.Request
	minBytes int // minimum size of a body that is compressed
	coding   coding
	status   int
	held     []byte
	body     io.Writer // nil before the decision
	encoder  encoder   // nil for a body that is not compressed
}

func newCompressWriter(w http.ResponseWriter, r *http.Request, minBytes int) *compressWriter {
	return &compressWriter{ResponseWriter: w, request: r, minBytes: minBytes, coding: negotiate(acceptEncoding(r))}
}

// Unwrap returns the underlying writer.
func (w *compressWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader sends an informational status at once, and records any other status until the
// decision.
func (w *compressWriter) WriteHeader(status int) {
	if status < http.StatusOK {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	if w.status == 0 {
		w.status = status
	}
}

func (w *compressWriter) Write(b []byte) (int, error) {
	if w.body == nil {
		size, known := w.size(len(w.held) + len(b))
		if !known && size < w.minBytes {
			w.held = append(w.held, b...)
			return len(b), nil
		}
		if err := w.decide(size >= w.minBytes, b); err != nil {
			return 0, err
		}
	}
	return w.body.Write(b)
}

// size returns the length of the body if the handler has declared the length, which known reports.
// Otherwise, it returns written, the number of bytes written so far.
func (w *compressWriter) size(written int) (n int, known bool) {
	if declared, err := strconv.Atoi(w.Header().Get("Content-Length")); err == nil {
		return declared, true
	}
	return written, false
}

// decide decides whether to compress, and sends the header and the buffered bytes. Enough is
// whether the size of the body reaches the minimum. Next holds the bytes that the caller will write
// next.
func (w *compressWriter) decide(enough bool, next []byte) error {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	h := w.Header()
	w.sniff(h, next)
	w.body = w.ResponseWriter
	if enough && compressible(h, w.status) {
		w.encode(h)
	} else if w.status == http.StatusNotModified {
		w.revalidated(h)
	}
	w.ResponseWriter.WriteHeader(w.status)
	if len(w.held) == 0 {
		return nil
	}
	_, err := w.body.Write(w.held)
	w.held = nil
	return err
}

// encode sets the headers and the encoder for a compressed body. The response to HEAD has the same
// headers as the response to GET, but its body is discarded.
func (w *compressWriter) encode(h http.Header) {
	addVary(h, varyEncoding)
	if w.coding == identity {
		return
	}
	encoded(h, w.coding)
	if w.request.Method == http.MethodHead {
		w.body = io.Discard
		return
	}
	w.encoder = newEncoder(w.coding, w.ResponseWriter)
	w.body = w.encoder
}

// sniff sets Content-Type to the media type that the first bytes of the body indicate, unless the
// handler has set Content-Type or Content-Encoding. Net/http would detect the type in the same way,
// but not for a body that is already compressed.
func (w *compressWriter) sniff(h http.Header, next []byte) {
	if _, set := h["Content-Type"]; set || len(w.held)+len(next) == 0 || len(h["Content-Encoding"]) > 0 {
		return
	}
	const enough = 512 // as many as DetectContentType inspects
	h.Set("Content-Type", http.DetectContentType(append(w.held, next[:min(len(next), enough)]...)))
}

// revalidated makes the entity tag of a 304 weak if the client has sent the weak tag, which it
// received with the encoded body (RFC 9110, section 15.4.5).
func (w *compressWriter) revalidated(h http.Header) {
	tag := h.Get("ETag")
	if strings.HasPrefix(tag, `"`) && strings.Contains(w.request.Header.Get("If-None-Match"), "W/"+tag) {
		addVary(h, varyEncoding)
		h.Set("ETag", "W/"+tag)
	}
}

// Flush implements [http.Flusher]. It sends the buffered bytes.
func (w *compressWriter) Flush() { _ = w.FlushError() }

// FlushError sends the buffered bytes, for [http.ResponseController]. Unless the handler has
// declared the length of the body, FlushError assumes that the body will reach the minimum size.
func (w *compressWriter) FlushError() error {
	if w.body == nil {
		size, known := w.size(0)
		if err := w.decide(!known || size >= w.minBytes, nil); err != nil {
			return err
		}
	}
	if w.encoder != nil {
		if err := w.encoder.Flush(); err != nil {
			return err
		}
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// close sends the buffered bytes and ends the body. It is not called after a panic: the buffered
// bytes are then dropped, and the error is sent instead.
func (w *compressWriter) close() {
	size, known := w.size(len(w.held))
	if w.body == nil && (w.status != 0 || len(w.held) > 0 || known && w.request.Method == http.MethodHead) {
		_ = w.decide(size >= w.minBytes, nil)
	}
	if w.encoder != nil {
		_ = w.encoder.Close()
		w.encoder, w.body = nil, io.Discard
	}
}
