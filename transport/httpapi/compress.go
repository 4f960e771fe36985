package httpapi

import (
	"io"
	"net/http"
	"strings"

	"github.com/klauspost/compress/gzhttp/writer/gzkp"
	"github.com/klauspost/compress/gzhttp/writer/zstdkp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// coding is a supported content coding.
type coding string

const (
	identity   coding = ""
	gzipCoding coding = "gzip"
	zstdCoding coding = "zstd"
)

// encoder is a compressing writer. The gzip and zstd writers of gzhttp implement it.
type encoder interface {
	io.WriteCloser
	Flush() error
}

// newEncoder returns a pooled encoder at its fastest level. Its method Close returns it to the pool.
func newEncoder(with coding, w io.Writer) encoder {
	if with == zstdCoding {
		return zstdkp.NewWriter(w, int(zstd.SpeedFastest))
	}
	return gzkp.NewWriter(w, gzip.BestSpeed)
}

// appendEncoded appends src, encoded with the coding, to dst and returns the result.
func appendEncoded(dst []byte, with coding, src []byte) []byte {
	out := &appender{dst}
	e := newEncoder(with, out)
	_, _ = e.Write(src) // cannot fail
	_ = e.Close()
	return out.bytes
}

type appender struct{ bytes []byte }

func (a *appender) Write(b []byte) (int, error) {
	a.bytes = append(a.bytes, b...)
	return len(b), nil
}

// compress returns body in the coding that the client prefers, and sets the headers. It returns body
// itself if it may not be compressed, or would not become shorter.
func (x *exchange) compress(body []byte) []byte {
	h := x.w.Header()
	if !compressible(h, http.StatusOK) {
		return body
	}
	addVary(h, varyEncoding)
	with := negotiate(acceptEncoding(x.r))
	if with == identity {
		return body
	}
	out := appendEncoded(make([]byte, 0, len(body)/2), with, body)
	if len(out) >= len(body) {
		return body
	}
	encoded(h, with)
	return out
}

// compressed returns the compressing writer for a mounted handler.
func (x *exchange) compressed() *compressWriter {
	return newCompressWriter(x, x.r, x.server.config.CompressMinBytes)
}

func acceptEncoding(r *http.Request) string {
	return strings.Join(r.Header["Accept-Encoding"], ",") // a single line is not copied
}

// negotiate returns the coding that the client prefers, zstd on equal weights (RFC 9110,
// section 12.5.3). "*" means gzip. If the client refuses identity and accepts no supported
// coding, negotiate returns identity, which the RFC permits.
func negotiate(accept string) coding {
	const unsaid = -1
	byZstd, byGzip, byNone, others := unsaid, unsaid, unsaid, unsaid
	for more := accept != ""; more; {
		var part string
		part, accept, more = strings.Cut(accept, ",")
		switch name, q := qualityOf(part); {
		case strings.EqualFold(name, "zstd"):
			byZstd = q
		case strings.EqualFold(name, "gzip"), strings.EqualFold(name, "x-gzip"):
			byGzip = q
		case strings.EqualFold(name, "identity"):
			byNone = q
		case name == "*":
			others = q
		}
	}
	if byGzip == unsaid {
		byGzip = others
	}
	switch {
	case byZstd > 0 && byZstd >= byGzip && byZstd >= byNone:
		return zstdCoding
	case byGzip > 0 && byGzip >= byNone:
		return gzipCoding
	default:
		return identity
	}
}

// qualityOf returns the name in an element of a list such as Accept, and its weight in thousandths:
// 1000 without a weight, 0 if the weight is invalid.
func qualityOf(part string) (name string, q int) {
	name, params, more := cutUnquoted(part, ';')
	q = 1000
	for more {
		var param string
		param, params, more = cutUnquoted(params, ';')
		if param = trimSpace(param); len(param) >= 2 && param[0]|0x20 == 'q' && param[1] == '=' {
			q = thousandths(param[2:])
		}
	}
	return trimSpace(name), q
}

// thousandths returns a qvalue (RFC 9110, section 12.4.2), a number from 0 to 1 with at most three
// decimals, in thousandths. It returns 0 if s is invalid.
func thousandths(s string) int {
	if s == "" || len(s) > 5 || s[0] != '0' && s[0] != '1' || len(s) > 1 && s[1] != '.' {
		return 0
	}
	q, unit := int(s[0]-'0')*1000, 100
	for i := 2; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0
		}
		q += int(s[i]-'0') * unit
		unit /= 10
	}
	if q > 1000 {
		return 0
	}
	return q
}

var (
	varyEncoding = []string{"Accept-Encoding"}
	codingValue  = map[coding][]string{gzipCoding: {string(gzipCoding)}, zstdCoding: {string(zstdCoding)}}
)

// encoded adapts the headers to the encoded body: no length, no ranges, and a weak entity tag
// (RFC 9110, section 8.8.3).
func encoded(h http.Header, with coding) {
	h["Content-Encoding"] = codingValue[with]
	delete(h, "Content-Length")
	delete(h, "Accept-Ranges")
	if tag := h.Get("ETag"); strings.HasPrefix(tag, `"`) {
		h.Set("ETag", "W/"+tag)
	}
}

// compressible reports whether a response may be encoded. A response with "Cache-Control:
// no-transform" is not encoded, neither here nor in caches (RFC 9111, section 5.2.2.6). A
// response that contains a secret beside text of the client's choice must have this directive,
// because the length of the compressed response reveals the secret gradually (the BREACH attack).
func compressible(h http.Header, status int) bool {
	switch status {
	case http.StatusNoContent, http.StatusResetContent, http.StatusNotModified, http.StatusPartialContent:
		return false
	}
	if len(h["Content-Encoding"]) > 0 || len(h["Content-Range"]) > 0 {
		return false
	}
	for _, line := range h["Cache-Control"] {
		if strings.Contains(strings.ToLower(line), "no-transform") {
			return false
		}
	}
	return isText(h.Get("Content-Type"))
}

// isText reports whether a media type compresses well. It excludes event streams, because each event
// must be sent at once.
func isText(media string) bool {
	media, _, _ = strings.Cut(media, ";")
	media = strings.ToLower(trimSpace(media))
	switch media {
	case "text/event-stream":
		return false
	case "application/javascript", "application/proto", "application/yaml", "application/wasm", "image/svg+xml":
		return true
	}
	return strings.HasPrefix(media, "text/") || strings.HasSuffix(media, "json") || strings.HasSuffix(media, "xml")
}

// trimSpace returns s without optional white space (RFC 9110, section 5.6.3) at its ends.
func trimSpace(s string) string { return strings.Trim(s, " \t") }
