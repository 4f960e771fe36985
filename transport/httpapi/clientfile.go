package httpapi

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"reflect"
	"strings"
	"sync"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/transport"
)

// writeFile returns the file of a request and, if the request has other form fields, the encoded
// form around the file. It adds the headers that describe the body to header. It returns an error
// if the size of the file cannot be determined, or if its media type or a form field is invalid.
func (p *params) writeFile(request any, header http.Header) (*sentFile, error) {
	v := reflect.ValueOf(request).Elem()
	f, _ := reflect.TypeAssert[*chassi.File](v.FieldByIndex(p.file).Addr())
	sent := &sentFile{content: f.Reader}
	if sent.content == nil {
		sent.content = strings.NewReader("")
	}
	var err error
	if sent.start, sent.length, err = transport.Extent(sent.content, f.Size); err != nil {
		return nil, fmt.Errorf("determine the size of the file: %w", err)
	}
	kind := cmp.Or(f.Type, "application/octet-stream")
	if !isHeaderValue(kind) {
		return nil, fmt.Errorf("the media type %q of the file contains a control character", kind)
	}
	if len(p.form) == 0 {
		header.Set("Content-Type", kind)
		header.Set("Content-Disposition", disposition("attachment", f.Name))
		return sent, nil
	}
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	if err := p.writeForm(v, w); err != nil {
		return nil, err
	}
	head := textproto.MIMEHeader{}
	head.Set("Content-Disposition", multipart.FileContentDisposition(p.member, f.Name))
	head.Set("Content-Type", kind)
	if _, err := w.CreatePart(head); err != nil {
		return nil, err //nolint:wrapcheck // cannot be: a buffer takes all
	}
	before := form.Len()
	if err := w.Close(); err != nil {
		return nil, err //nolint:wrapcheck // see above
	}
	sent.before, sent.after = form.Bytes()[:before], form.Bytes()[before:]
	header.Set("Content-Type", w.FormDataContentType())
	return sent, nil
}

func (p *params) writeForm(request reflect.Value, w *multipart.Writer) error {
	for i := range p.form {
		f := &p.form[i]
		field := f.in(request, false)
		if !field.IsValid() {
			continue
		}
		texts, err := f.texts(field)
		if err != nil {
			return &fieldError{f.name, err}
		}
		for _, text := range texts {
			if err := w.WriteField(f.name, text); err != nil {
				return err //nolint:wrapcheck // cannot be: a buffer takes all
			}
		}
	}
	return nil
}

// sentFile is the file of a request that a client sends.
type sentFile struct {
	content       io.Reader
	start, length int64  // as returned by transport.Extent
	before, after []byte // the parts of the form before and after the content

	mu     sync.Mutex
	body   *sentBody // the body that may read the content, nil after the end of the call
	failed error     // error of reading the content
}

// sentBody is the body of a request with a file. Net/http may read it even after the response has
// been returned and the call has ended. The caller may then use the file again, so such reads fail.
type sentBody struct {
	file   *sentFile
	reader io.Reader
}

var errCallEnded = errors.New("httpapi: the call has ended")

// size returns the length of the body in bytes, or -1 if the length is unknown.
func (s *sentFile) size() int64 {
	if s.length < 0 {
		return -1
	}
	return int64(len(s.before)) + s.length + int64(len(s.after))
}

// open returns a body that reads the content from its current position. Only the body that was
// opened last can be read.
func (s *sentFile) open() *sentBody {
	content := s.content
	if s.length >= 0 {
		_, canSeek := content.(io.Seeker)
		content = transport.Sized(content, s.length, canSeek)
	}
	s.body = &sentBody{s, io.MultiReader(bytes.NewReader(s.before), content, bytes.NewReader(s.after))}
	return s.body
}

// reopen returns the GetBody function of the [http.Request], or nil if the file cannot seek.
// Net/http calls this function to send the request again, for example if the server has closed an
// idle connection or refused an HTTP/2 stream.
func (s *sentFile) reopen() func() (io.ReadCloser, error) {
	seeker, ok := s.content.(io.Seeker)
	if !ok {
		return nil
	}
	return func() (io.ReadCloser, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.body == nil {
			return nil, errCallEnded
		}
		if _, err := seeker.Seek(s.start, io.SeekStart); err != nil {
			return nil, fmt.Errorf("httpapi: resend a file: %w", err)
		}
		return s.open(), nil
	}
}

// end prevents further reads of the file. It first closes the file, if possible, which ends a read
// in progress.
func (s *sentFile) end() {
	if closer, ok := s.content.(io.Closer); ok {
		_ = closer.Close() // it was only read
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.body = nil
}

// Read implements [io.Reader].
func (b *sentBody) Read(p []byte) (int, error) {
	b.file.mu.Lock()
	defer b.file.mu.Unlock()
	if b.file.body != b {
		return 0, errCallEnded
	}
	n, err := b.reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		b.file.failed = err
	}
	return n, err //nolint:wrapcheck // the caller's own
}

// failure returns the error of reading the content, or nil if there was no error.
func (s *sentFile) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

// Close implements [io.Closer]. It does nothing, because the file is closed at the end of the call.
func (*sentBody) Close() error { return nil }

// readFile sets the file of response, and the fields of response that are sent as headers, cookies
// or the status. The reader of the file reads the body of reply, and calls end when it is closed.
func (rt *clientRoute) readFile(reply *http.Response, response any, end func()) error {
	if err := rt.readFields(reply, response); err != nil {
		return err
	}
	h := reply.Header
	modified, _ := http.ParseTime(h.Get("Last-Modified")) // zero if there is none
	*rt.response.fileOf(reflect.ValueOf(response).Elem()) = chassi.File{
		Reader: &receivedFile{Reader: reply.Body, end: end}, Name: fileName(h.Get("Content-Disposition")), Type: fileType(h.Get("Content-Type")),
		Size: max(reply.ContentLength, 0), ETag: strings.Trim(strings.TrimPrefix(h.Get("ETag"), "W/"), `"`), ModTime: modified,
	}
	return nil
}

// receivedFile is the reader of a file in the body of a response.
type receivedFile struct {
	io.Reader

	end func()
}

// Close implements [io.Closer].
func (r *receivedFile) Close() error {
	r.end()
	return nil
}
