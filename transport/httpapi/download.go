package httpapi

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/safetext"
	"github.com/chassi-go/chassi/transport"
)

var (
	errRange        = &statusError{http.StatusRequestedRangeNotSatisfiable, chassi.NewError(chassi.OutOfRange, "range_not_satisfiable", "The file does not contain the requested range")}
	errPrecondition = &statusError{http.StatusPreconditionFailed, chassi.NewError(chassi.FailedPrecondition, "precondition_failed", "The file does not match the conditions of the request")}
)

// copyBytes is the size, in bytes, of the buffer through which download.copy sends a file.
const copyBytes = 32 << 10

// download is the [http.ResponseWriter] through which the file of a response is sent.
type download struct {
	x        *exchange
	progress progress
	status   int   // status of a successful response, which is sent with the first byte
	refused  int   // status of an error response, 0 if there is no error
	sent     int64 // number of bytes of the body that were sent
	failed   error // error of writing
}

// sendFile sends the file f as a response, and closes f. The response has the given status, unless
// [http.ServeContent] responds with 206 or 304 to a range or a condition of the request. sendFile
// returns after the transfer, so that the middleware observes its end. If it returns an error and no
// header was sent, an error response can still be sent.
func (x *exchange) sendFile(f *chassi.File, status int) (err error) {
	if f.Reader == nil {
		return errNoFile
	}
	content := &contentReader{reader: f.Reader}
	defer content.close()
	h := x.w.Header()
	defer func() {
		if err != nil && x.status == 0 {
			forgetFile(h, err)
		}
	}()
	if err := describeFile(h, f); err != nil {
		return fmt.Errorf("httpapi: the file of %s: %w", x.route.binding.Endpoint.FullName(), err)
	}
	h["Cache-Control"] = x.route.cacheControl
	if conn, ok := x.r.Context().Value(connectionKey{}).(*connection); ok {
		conn.tcp.limitUnsent()
	}
	d := &download{x: x, progress: x.newProgress((*http.ResponseController).SetWriteDeadline)}
	seeker, canSeek := f.Reader.(io.Seeker)
	content.seeker = seeker
	if isRead := x.r.Method == http.MethodGet || x.r.Method == http.MethodHead; canSeek && isRead && status == http.StatusOK {
		r, err := forServeContent(x.r, content)
		if err != nil {
			return err
		}
		http.ServeContent(d, r, "", f.ModTime, content)
	} else {
		if !f.ModTime.IsZero() {
			h.Set("Last-Modified", f.ModTime.UTC().Format(http.TimeFormat))
		}
		h.Set("Accept-Ranges", "none")
		if err := d.copy(content, f, seeker, status); err != nil {
			return err
		}
	}
	if err = d.result(content); err == nil {
		d.begin() // there was no byte
	}
	d.progress.finish()
	return err
}

// forgetFile deletes from h the headers that describe a file, before err is sent instead of the
// file. It keeps the Content-Range if err is errRange.
func forgetFile(h http.Header, err error) {
	for _, name := range []string{"Accept-Ranges", "Content-Disposition", "Content-Length", "Etag", "Last-Modified"} {
		delete(h, name)
	}
	if !errors.Is(err, errRange) {
		delete(h, "Content-Range")
	}
}

// describeFile sets the headers that describe f, but keeps a Content-Disposition that the service
// has set. It returns an error if the media type or the entity tag of f is invalid.
func describeFile(h http.Header, f *chassi.File) error {
	kind := cmp.Or(f.Type, "application/octet-stream")
	if _, _, err := mime.ParseMediaType(kind); err != nil || !isHeaderValue(kind) {
		return fmt.Errorf("invalid media type %q: want one such as text/csv", kind)
	}
	h.Set("Content-Type", kind)
	if h.Get("Content-Disposition") == "" {
		h.Set("Content-Disposition", disposition("attachment", f.Name))
	}
	if f.ETag != "" {
		if strings.ContainsFunc(f.ETag, func(r rune) bool { return r <= ' ' || r == '"' || r > '~' }) {
			return fmt.Errorf("invalid ETag %q: want printable ASCII without spaces or quotation marks", f.ETag)
		}
		h.Set("ETag", `"`+f.ETag+`"`)
	}
	return nil
}

// disposition returns a Content-Disposition of the given kind, such as "attachment", with the file
// name that [safetext.FileName] makes from given, if there is one. The name is written in ASCII
// and, if it has other characters or a percent sign, also in UTF-8 (RFC 6266, appendix D).
func disposition(kind, given string) string {
	name := safetext.FileName(given)
	if name == "" {
		return kind
	}
	ascii := strings.Map(func(r rune) rune {
		if r > '~' || r == '%' { // some clients decode %
			return '_'
		}
		return r
	}, name)
	text := kind + `; filename="` + ascii + `"`
	if ascii != name {
		text += "; filename*=UTF-8''" + strings.ReplaceAll(url.QueryEscape(name), "+", "%20")
	}
	return text
}

// copy sends the whole content of f with the given status, without support for ranges. It reads the
// content from whole; seeker is nil if the file cannot seek. It returns an error if the size of the
// file cannot be determined; d and whole record the errors of the transfer.
func (d *download) copy(whole *contentReader, f *chassi.File, seeker io.Seeker, status int) error {
	content, size := io.Reader(whole), f.Size
	if seeker != nil {
		var err error
		if size, err = sizeOf(whole); err != nil {
			return err
		}
	}
	if size > 0 || seeker != nil {
		d.Header().Set("Content-Length", strconv.FormatInt(size, 10))
		content = transport.Sized(whole, size, seeker != nil)
	}
	d.WriteHeader(status)
	if d.x.r.Method == http.MethodHead {
		return nil
	}
	if _, err := io.CopyBuffer(d, content, make([]byte, copyBytes)); err != nil {
		whole.failed = cmp.Or(whole.failed, err) // unless d.failed says why
	}
	return nil
}

// sizeOf returns the size of a file in bytes, and seeks to its start.
func sizeOf(s io.Seeker) (int64, error) {
	size, err := s.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = s.Seek(0, io.SeekStart)
	}
	if err != nil {
		return 0, fmt.Errorf("httpapi: determine the size of a file: %w", err)
	}
	return size, nil
}

// result returns the error of a download that was refused or is not complete, or nil if the
// download is complete. An incomplete response is aborted, so that the client does not take it for
// a complete one.
func (d *download) result(content *contentReader) error {
	switch {
	case d.refused == http.StatusRequestedRangeNotSatisfiable:
		return errRange
	case d.refused == http.StatusPreconditionFailed:
		return errPrecondition
	case d.refused != 0:
		return fmt.Errorf("httpapi: a file cannot be read: %w", cmp.Or(content.failed, errSeek))
	case d.failed != nil:
		return errAborted.WithCause(d.failed)
	case content.failed != nil:
		return content.failed
	}
	size, err := strconv.ParseInt(d.Header().Get("Content-Length"), 10, 64)
	if err == nil && d.sent < size && d.x.r.Method != http.MethodHead && d.status != http.StatusNotModified {
		return errTooShort(d.sent, size)
	}
	return nil
}

var errSeek = errors.New("seeking in the file failed")

// Header implements [http.ResponseWriter].
func (d *download) Header() http.Header { return d.x.w.Header() }

// WriteHeader implements [http.ResponseWriter]. It only records the status, so that an error
// response can be sent if the download fails before the first byte.
func (d *download) WriteHeader(status int) {
	if status >= http.StatusBadRequest {
		d.refused = status
		return
	}
	d.status = status
}

// begin sends the header of a successful response, unless a header has already been sent.
func (d *download) begin() {
	if d.x.status == 0 {
		d.x.leaveUnread()
		d.x.WriteHeader(d.status)
	}
}

// Write implements [http.ResponseWriter].
func (d *download) Write(b []byte) (int, error) {
	if d.refused != 0 {
		return len(b), nil
	}
	d.begin()
	n, err := d.progress.wait(func() (int, error) { return d.x.Write(b) })
	d.sent += int64(n)
	if err != nil {
		d.failed = err
	}
	return n, err
}

// contentReader reads a file. It recovers panics in reading and seeking, and records the last error
// other than [io.EOF]. It has a lock, because [http.ServeContent] reads several ranges in a
// goroutine that may continue after ServeContent has returned.
type contentReader struct {
	reader io.Reader
	seeker io.Seeker

	mu     sync.Mutex
	closed bool
	failed error
}

// Read implements [io.Reader].
func (c *contentReader) Read(b []byte) (int, error) {
	n, err := c.use(func() (int64, error) {
		n, err := c.reader.Read(b)
		return int64(n), err
	})
	return int(n), err
}

// Seek implements [io.Seeker].
func (c *contentReader) Seek(offset int64, whence int) (int64, error) {
	return c.use(func() (int64, error) { return c.seeker.Seek(offset, whence) })
}

func (c *contentReader) use(f func() (int64, error)) (n int64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return 0, io.ErrClosedPipe
	}
	defer func() {
		if v := recover(); v != nil {
			n, err = 0, chassi.Recovered(v)
		}
		if err != nil && !errors.Is(err, io.EOF) {
			c.failed = err
		}
	}()
	return f()
}

// close prevents further reads, and closes the file if it is an io.Closer.
func (c *contentReader) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if closer, ok := c.reader.(io.Closer); ok {
		_ = closer.Close() // nothing is lost: the content has been read
	}
}
