package httpapi

import (
	"io"
	"net/http"
	"strconv"
	"strings"
)

// compressWriter compresses what a mounted handler writes. It decides as soon as
// the size is known to be worth it: by Content-Length, by what was written so far,
// by a flush, or at the end. Until then header and body are held back.
// http.ResponseController reaches the writer below through Unwrap.
type compressWriter struct {
	http.ResponseWriter
	compressor *compressor
	request    *http.Request
	coding     coding
	status     int
	held       []byte
	body       io.Writer // nil before the decision
	encoder    encoder   // nil for a body as it is
}

func (c *compressor) writer(w http.ResponseWriter, r *http.Request) *compressWriter {
	return &compressWriter{ResponseWriter: w, compressor: c, request: r, coding: negotiate(acceptEncoding(r))}
}

// Unwrap returns the writer below.
func (w *compressWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader sends informational headers on, and keeps the status of others
// until the decision.
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
		if !known && size < w.compressor.least {
			w.held = append(w.held, b...)
			return len(b), nil
		}
		if err := w.decide(size >= w.compressor.least, b); err != nil {
			return 0, err
		}
	}
	return w.body.Write(b)
}

// size returns the length that the handler declared, or else what it wrote.
func (w *compressWriter) size(written int) (n int, known bool) {
	if declared, err := strconv.Atoi(w.Header().Get("Content-Length")); err == nil {
		return declared, true
	}
	return written, false
}

// decide sends the header and what was held; next is what will be written then.
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

// encode makes the headers of HEAD those of GET, with no body behind them.
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
	w.encoder = w.compressor.get(w.coding, w.ResponseWriter)
	w.body = w.encoder
}

// sniff names the media type as net/http would, which does not look into encoded
// bodies.
func (w *compressWriter) sniff(h http.Header, next []byte) {
	if _, set := h["Content-Type"]; set || len(w.held)+len(next) == 0 || len(h["Content-Encoding"]) > 0 {
		return
	}
	const enough = 512 // what DetectContentType looks at
	h.Set("Content-Type", http.DetectContentType(append(w.held, next[:min(len(next), enough)]...)))
}

// revalidated gives a 304 the entity tag that the client got with the encoded
// body and asks about now (RFC 9110, section 15.4.5).
func (w *compressWriter) revalidated(h http.Header) {
	tag := h.Get("ETag")
	if strings.HasPrefix(tag, `"`) && strings.Contains(w.request.Header.Get("If-None-Match"), "W/"+tag) {
		addVary(h, varyEncoding)
		h.Set("ETag", "W/"+tag)
	}
}

// Flush sends what there is so far.
func (w *compressWriter) Flush() { _ = w.FlushError() }

// FlushError is Flush for http.ResponseController. A handler that flushes before
// it has written much is taken to have more to say.
func (w *compressWriter) FlushError() error {
	if w.body == nil {
		size, known := w.size(0)
		if err := w.decide(!known || size >= w.compressor.least, nil); err != nil {
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

// close ends the body. It is not called after a panic: what was held is dropped
// then, and the error takes its place.
func (w *compressWriter) close() {
	if w.body == nil && (w.status != 0 || len(w.held) > 0) {
		size, _ := w.size(len(w.held))
		_ = w.decide(size >= w.compressor.least, nil)
	}
	if w.encoder != nil {
		_ = w.encoder.Close()
		w.compressor.put(w.coding, w.encoder)
		w.encoder, w.body = nil, io.Discard
	}
}
