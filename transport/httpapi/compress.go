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

// newEncoder returns a pooled encoder that writes to w in the coding c, at the fastest level. Its
// method Close returns the encoder to the pool.
func newEncoder(c coding, w io.Writer) encoder {
	if c == zstdCoding {
		return zstdkp.NewWriter(w, int(zstd.SpeedFastest))
	}
	return gzkp.NewWriter(w, gzip.BestSpeed)
}

// appendEncoded encodes src in the coding c, appends the result to dst, and returns the extended
// slice.
func appendEncoded(dst []byte, c coding, src []byte) []byte {
	out := &appender{dst}
	e := newEncoder(c, out)
	_, _ = e.Write(src) // cannot fail
	_ = e.Close()
	return out.bytes
}

type appender struct{ bytes []byte }

func (a *appender) Write(b []byte) (int, error) {
	a.bytes = append(a.bytes, b...)
	return len(b), nil
}

// compress returns body in the coding that the client prefers, and sets the headers for this
// coding. It returns body itself if body must not be compressed, or would not become shorter.
func (x *exchange) compress(body []byte) []byte {
	h := x.w.Header()
	if !compressible(h, http.StatusOK) {
		return body
	}
	addVary(h, varyEncoding)
	c := negotiate(acceptEncoding(x.r))
	if c == identity {
		return body
	}
	out := appendEncoded(make([]byte, 0, len(body)/2), c, body)
	if len(out) >= len(body) {
		return body
	}
	encoded(h, c)
	return out
}

// compressed returns a writer that compresses the response of a mounted handler.
func (x *exchange) compressed() *compressWriter {
	return newCompressWriter(x, x.r, x.server.config.CompressMinBytes)
}

func acceptEncoding(r *http.Request) string {
	return strings.Join(r.Header["Accept-Encoding"], ",") // a single line is not copied
}

// negotiate returns the coding that the client prefers according to the Accept-Encoding header
// accept (RFC 9110, section 12.5.3). It prefers zstd if the weights are equal, and "*" stands for
// gzip unless accept names gzip. If the client refuses identity and accepts no supported coding,
// negotiate returns identity, which the RFC permits.
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

// qualityOf returns the name in part, an element of a list such as Accept, and the weight of the
// element in thousandths. The weight is 1000 if the element states none, and 0 if it states an
// invalid one.
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

// thousandths returns the qvalue s (RFC 9110, section 12.4.2), a number from 0 to 1 with at most
// three decimals, in thousandths. It returns 0 if s is invalid.
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

// encoded adapts the headers h to a body in the coding c: it sets Content-Encoding, deletes
// Content-Length and Accept-Ranges, and makes the entity tag weak (RFC 9110, section 8.8.3).
func encoded(h http.Header, c coding) {
	h["Content-Encoding"] = codingValue[c]
	delete(h, "Content-Length")
	delete(h, "Accept-Ranges")
	if tag := h.Get("ETag"); strings.HasPrefix(tag, `"`) {
		h.Set("ETag", "W/"+tag)
	}
}

// compressible reports whether a response with the headers h and the given status may be encoded
// and is of a type that compresses well. A response with "Cache-Control: no-transform" must not be
// encoded by the server or by caches (RFC 9111, section 5.2.2.6). A response that contains a secret
// beside text of the client's choice must have this directive, because the length of the compressed
// response gradually reveals the secret (the BREACH attack).
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

// isText reports whether content of the type media compresses well. It excludes event streams,
// because each event must be sent at once.
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

// trimSpace returns s without leading and trailing spaces and tabs, the optional whitespace of RFC
// 9110, section 5.6.3.
func trimSpace(s string) string { return strings.Trim(s, " \t") }
