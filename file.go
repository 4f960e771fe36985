package chassi

import (
	"io"
	"reflect"
	"time"
)

// File is the content of a file with its metadata. A request or a response may have one field of
// this type. HTTP carries the File as the body or in a form, and package localapi passes its content
// on; other transports refuse to mount endpoints with a File. The content is not held in memory.
//
// In a response, only Reader is required. If Reader is an [io.Seeker], clients may request ranges
// (RFC 9110, section 14). If it is an [io.Closer], the transport closes it in all cases, even if
// the transport sends nothing.
//
// In a request, Reader is valid until the method returns. If the transfer fails, Read returns an
// [*Error]; a method that returns or wraps it fails the call with the status of the transfer error.
// The Reader of a File that a client sends is closed after the call if it is an [io.Closer]. The
// Reader of a File that a client receives is an [io.ReadCloser], which the client must close.
//
// Unless its options set other values, an endpoint with a File has a timeout of 10 minutes, and one
// with a File in its request accepts bodies of up to 32 MiB.
type File struct {
	// Reader delivers the content. It is not nil in a request that a method receives. A client
	// that sends nil sends an empty file.
	Reader io.Reader
	// Name is the base name, or "" if it is unknown. Transports deliver a name of at most 255 bytes
	// without directories, control characters or other characters that Windows does not permit.
	Name string
	// Type is the media type, such as "text/csv; charset=utf-8". "" means application/octet-stream.
	Type string
	// Size is the number of bytes, or 0 if it is unknown. In a File to be sent, it is ignored if
	// Reader is an [io.Seeker]: the transport then determines the size. Otherwise the transfer of a
	// file with a size other than Size fails, unless Size is 0.
	Size int64
	// ETag identifies the content, for example by a hash, without quotation marks. "" means none.
	ETag string
	// ModTime is the time of the last change, or the zero time if it is unknown.
	ModTime time.Time
}

// Defaults of endpoints with a [File].
const (
	fileTimeout  = 10 * time.Minute
	maxFileBytes = 32 << 20
)

// Files reports whether the request has a [File], and whether the response has one.
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
