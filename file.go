package chassi

import (
	"io"
	"reflect"
	"time"
)

// File is the content of a file with its metadata. A request or a response may have one field of
// this type. HTTP carries it as the body, and package localapi passes it on unchanged; all other
// transports refuse to mount such an endpoint. The content is streamed and never held in memory.
//
// In a response only Reader is required. If Reader is an [io.Seeker], clients may request ranges
// (RFC 9110, section 14). If it is an [io.Closer], the transport closes it in all cases, even if
// the transport sends nothing.
//
// In a request Reader is valid until the method returns. Its errors are those of the transfer, of
// type [*Error]: a method that returns or wraps such an error refuses the call with the right status.
// The Reader of a File that a client sends is closed after the call if it is an [io.Closer]. The
// Reader of a File that a client receives is an [io.ReadCloser], which the client must close.
//
// An endpoint with a File has, unless its options say otherwise, a timeout of 10 minutes and
// accepts bodies of up to 32 MiB.
type File struct {
	// Reader delivers the content. It is not nil in a request.
	Reader io.Reader
	// Name is the base name, "" if it is unknown. Transports deliver a name of at most 255 bytes
	// without directories, control characters, and what Windows does not permit in a name.
	Name string
	// Type is the media type: "text/csv; charset=utf-8". "" means application/octet-stream.
	Type string
	// Size is the number of bytes, 0 if it is unknown. In a File to be sent it is ignored if Reader
	// is an [io.Seeker]: the transport then determines the size itself. The transfer of a file with
	// another size fails.
	Size int64
	// ETag identifies the content, without quotation marks: a hash, a version. "" means none.
	ETag string
	// ModTime is the time of the last change; zero if it is unknown.
	ModTime time.Time
}

// Defaults of endpoints with a [File].
const (
	fileTimeout  = 10 * time.Minute
	maxFileBytes = 32 << 20
)

// Files reports whether the request and the response have a [File].
func (e *Endpoint) Files() (request, response bool) { return hasFile(e.request), hasFile(e.response) }

func hasFile(t reflect.Type) bool {
	if t == nil || t.Kind() != reflect.Struct {
		return false
	}
	for _, f := range reflect.VisibleFields(t) {
		if f.Type == reflect.TypeFor[File]() && f.IsExported() {
			return true
		}
	}
	return false
}

// expectFiles sets the defaults of an endpoint with a [File].
func (e *Endpoint) expectFiles() {
	request, response := e.Files()
	if e.timeout == 0 && (request || response) {
		e.timeout = fileTimeout
	}
	if e.maxBody == 0 && request {
		e.maxBody = maxFileBytes
	}
}
