package apidocs

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

//go:embed scalar/scalar.js.gz
var compressedScalar []byte

// script is the handler of a JavaScript file, which the page requests by version. Caches may keep
// the response to a request for the version of the script for a year. They must revalidate the
// response to a request for any other version, because during an update the page of one instance
// may load the script of another instance.
type script struct {
	version string
	content []byte // plain or compressed with gzip
	gzipped bool
	plain   func() ([]byte, error) // decompresses gzipped content; the result is kept
}

func newScript(content []byte, gzipped bool) *script {
	return &script{
		version: digest(content), content: content, gzipped: gzipped,
		plain: sync.OnceValues(func() ([]byte, error) { return decompress(content) }),
	}
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	content, tag := s.content, s.version
	h := w.Header()
	if s.gzipped {
		h.Add("Vary", "Accept-Encoding")
		if acceptsGzip(r.Header.Values("Accept-Encoding")) {
			h.Set("Content-Encoding", "gzip")
			tag += "-gzip"
		} else {
			var err error
			if content, err = s.plain(); err != nil {
				http.Error(w, "the embedded script cannot be decompressed", http.StatusInternalServerError)
				return
			}
		}
	}
	h.Set("Content-Type", "text/javascript; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-cache")
	if r.URL.Query().Get("v") == s.version {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	h.Set("ETag", etag(tag))
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}

func decompress(content []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		return nil, err //nolint:wrapcheck // the caller reports what is damaged
	}
	return io.ReadAll(z) //nolint:wrapcheck // the same
}

// acceptsGzip reports whether header, the values of Accept-Encoding, allows gzip (RFC 9110, section
// 12.5.3).
func acceptsGzip(header []string) bool {
	accepted := false
	for part := range strings.SplitSeq(strings.Join(header, ","), ",") {
		name, parameter, _ := strings.Cut(part, ";")
		quality, err := strconv.ParseFloat(strings.TrimPrefix(strings.TrimSpace(parameter), "q="), 64)
		switch allowed := err != nil || quality > 0; strings.ToLower(strings.TrimSpace(name)) {
		case "gzip", "x-gzip":
			return allowed
		case "*":
			accepted = allowed
		}
	}
	return accepted
}

// digest returns a short hash that identifies content in URLs and entity tags.
func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:8])
}

func etag(version string) string { return `"` + version + `"` }
