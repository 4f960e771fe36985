package httpapi

import (
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// coding is a content coding that we write.
type coding string

const (
	identity   coding = ""
	gzipCoding coding = "gzip"
	zstdCoding coding = "zstd"
)

// zstdWindow is what a client must keep in memory; RFC 9659 allows 8 MiB.
const zstdWindow = 256 << 10

// encoder is what gzip and zstd writers have in common.
type encoder interface {
	io.WriteCloser
	Flush() error
	Reset(w io.Writer)
}

// compressor pools encoders at their fastest levels. It is safe for concurrent
// use.
type compressor struct {
	least int // bytes that are worth it
	gzip  sync.Pool
	zstd  sync.Pool
	whole func() *zstd.Encoder // for complete bodies, one per core inside
}

func newCompressor(least int) *compressor {
	return &compressor{
		least: least,
		gzip: sync.Pool{New: func() any {
			w, _ := gzip.NewWriterLevel(io.Discard, gzip.BestSpeed) // fails for a bad level only
			return w
		}},
		zstd:  sync.Pool{New: func() any { return newZstd(1) }},
		whole: sync.OnceValue(func() *zstd.Encoder { return newZstd(runtime.GOMAXPROCS(0)) }),
	}
}

func newZstd(concurrency int) *zstd.Encoder {
	w, _ := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(concurrency), // fails for a bad option only
		zstd.WithWindowSize(zstdWindow), zstd.WithLowerEncoderMem(true))
	return w
}

func (c *compressor) pool(with coding) *sync.Pool {
	if with == zstdCoding {
		return &c.zstd
	}
	return &c.gzip
}

func (c *compressor) get(with coding, w io.Writer) encoder {
	e, _ := c.pool(with).Get().(encoder)
	e.Reset(w)
	return e
}

func (c *compressor) put(with coding, e encoder) {
	e.Reset(io.Discard) // lets go of the answer
	c.pool(with).Put(e)
}

// bytes appends src, encoded, to dst.
func (c *compressor) bytes(dst []byte, with coding, src []byte) []byte {
	if with == zstdCoding {
		return c.whole().EncodeAll(src, dst)
	}
	out := &appender{dst}
	e := c.get(with, out)
	_, _ = e.Write(src) // an appender does not fail
	_ = e.Close()
	c.put(with, e)
	return out.bytes
}

type appender struct{ bytes []byte }

func (a *appender) Write(b []byte) (int, error) {
	a.bytes = append(a.bytes, b...)
	return len(b), nil
}

// compress returns body in the coding that the client takes, and says so in the
// headers.
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
	out := x.server.compressor.bytes(make([]byte, 0, len(body)/2), with, body)
	if len(out) >= len(body) {
		return body
	}
	encoded(h, with)
	return out
}

// compressed returns the writer for a mounted handler.
func (x *exchange) compressed() *compressWriter {
	return x.server.compressor.writer(x, x.r)
}

func acceptEncoding(r *http.Request) string {
	return strings.Join(r.Header["Accept-Encoding"], ",") // one line is not copied
}

// negotiate picks what the client likes best, zstd on a draw (RFC 9110, section
// 12.5.3). Who says "*" knows gzip at least. Where identity is refused and
// nothing else is taken, identity it is: the RFC leaves that open, and 406 helps
// nobody.
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

// qualityOf returns a name and its weight in thousandths: 1000 for none, 0 for
// what is no weight.
func qualityOf(part string) (name string, q int) {
	name, params, more := strings.Cut(part, ";")
	q = 1000
	for more {
		var param string
		param, params, more = strings.Cut(params, ";")
		if param = trimSpace(param); len(param) >= 2 && param[0]|0x20 == 'q' && param[1] == '=' {
			q = thousandths(param[2:])
		}
	}
	return trimSpace(name), q
}

// thousandths reads a qvalue (RFC 9110, section 12.4.2): 0 or 1 and at most
// three decimals.
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

// encoded makes the headers those of the encoded body: another length, no ranges
// of it, and an entity tag that does not promise the same bytes (RFC 9110,
// section 8.8.3).
func encoded(h http.Header, with coding) {
	h["Content-Encoding"] = codingValue[with]
	delete(h, "Content-Length")
	delete(h, "Accept-Ranges")
	if tag := h.Get("ETag"); strings.HasPrefix(tag, `"`) {
		h.Set("ETag", "W/"+tag)
	}
}

// compressible tells whether an answer may be encoded. One that says
// "Cache-Control: no-transform" is left alone, here and in caches on its way
// (RFC 9111, section 5.2.2.6): that is how an answer opts out which holds a
// secret beside text of the caller's choice. The length of such an answer, once
// compressed, tells the secret bit by bit (the BREACH attack).
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

// isText tells the media types that shrink. An event stream is text, but each
// event has to leave at once.
func isText(media string) bool {
	media, _, _ = strings.Cut(media, ";")
	media = strings.ToLower(trimSpace(media))
	switch media {
	case "text/event-stream":
		return false
	case "application/javascript", "application/yaml", "application/wasm", "image/svg+xml":
		return true
	}
	return strings.HasPrefix(media, "text/") || strings.HasSuffix(media, "json") || strings.HasSuffix(media, "xml")
}

// trimSpace drops the optional white space of RFC 9110, section 5.6.3.
func trimSpace(s string) string { return strings.Trim(s, " \t") }
