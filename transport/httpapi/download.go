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
	errRange        = &statusError{http.StatusRequestedRangeNotSatisfiable, chassi.NewError(chassi.OutOfRange, "range_not_satisfiable", "The file does not have this range")}
	errPrecondition = &statusError{http.StatusPreconditionFailed, chassi.NewError(chassi.FailedPrecondition, "precondition_failed", "The file is not as the request requires")}
)

// copyBytes is the size of the buffer through which a file is sent.
const copyBytes = 32 << 10

// download is the response to which a file is written.
type download struct {
	x        *exchange
	progress progress
	status   int   // status of success, which is sent with the first byte
	refused  int   // a status that is sent as an error
	sent     int64 // bytes of the body
	failed   error // error of writing
}

// sendFile sends the file of the response with status. It is sent within the call, so that the
// middleware sees its end.
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

// forgetFile deletes the headers that describe a file, before err is sent instead of the file. It keeps
// the Content-Range of errRange.
func forgetFile(h http.Header, err error) {
	for _, name := range []string{"Accept-Ranges", "Content-Disposition", "Content-Length", "Etag", "Last-Modified"} {
		delete(h, name)
	}
	if !errors.Is(err, errRange) {
		delete(h, "Content-Range")
	}
}

// describeFile sets the headers that describe f. It keeps a Content-Disposition that the service has
// set.
func describeFile(h http.Header, f *chassi.File) error {
	kind := cmp.Or(f.Type, "application/octet-stream")
	if _, _, err := mime.ParseMediaType(kind); err != nil || !isHeaderValue(kind) {
		return fmt.Errorf("invalid media type %q", kind)
	}
	h.Set("Content-Type", kind)
	if h.Get("Content-Disposition") == "" {
		h.Set("Content-Disposition", disposition("attachment", f.Name))
	}
	if f.ETag != "" {
		if strings.ContainsFunc(f.ETag, func(r rune) bool { return r <= ' ' || r == '"' || r > '~' }) {
			return fmt.Errorf("invalid ETag %q: want printable ASCII without quotation marks", f.ETag)
		}
		h.Set("ETag", `"`+f.ETag+`"`)
	}
	return nil
}

// disposition returns a Content-Disposition with the file name given in ASCII, and also in UTF-8 if
// that differs (RFC 6266, appendix D).
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

// copy sends a whole file.
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
		return 0, fmt.Errorf("httpapi: the size of a file: %w", err)
	}
	return size, nil
}

// result returns the error of a download that was refused or is not complete, or nil. After an
// incomplete response the connection is closed, so that the client does not take the response for a
// complete one.
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

var errSeek = errors.New("it cannot seek")

// Header implements [http.ResponseWriter].
func (d *download) Header() http.Header { return d.x.w.Header() }

// WriteHeader implements [http.ResponseWriter]. It only records the status, so that an error response
// can be sent if the download fails before the first byte.
func (d *download) WriteHeader(status int) {
	if status >= http.StatusBadRequest {
		d.refused = status
		return
	}
	d.status = status
}

// begin sends the header of a successful response, unless it was sent.
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

// contentReader reads a file, recovers its panics, and records its errors. It has a lock, because
// [http.ServeContent] reads several ranges in a goroutine, which may outlive it.
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
