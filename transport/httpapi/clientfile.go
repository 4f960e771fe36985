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
)

// lengthOf returns the bytes that content has left, or otherwise size, if that is positive, or
// -1.
func lengthOf(content io.Reader, size int64) (int64, error) {
	seeker, ok := content.(io.Seeker)
	switch {
	case !ok && size > 0:
		return size, nil
	case !ok:
		return -1, nil
	}
	at, err := seeker.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0, err //nolint:wrapcheck // the caller says of what
	}
	end, err := seeker.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, err //nolint:wrapcheck // the caller says of what
	}
	_, err = seeker.Seek(at, io.SeekStart)
	return end - at, err //nolint:wrapcheck // the caller says of what
}

// writeFile returns the body of a request with a file and its length, -1 if that is not known:
// the file itself, or a form if the request has fields that belong to one.
func (p *params) writeFile(request any, header http.Header) (io.Reader, int64, error) {
	v := reflect.ValueOf(request).Elem()
	f, _ := reflect.TypeAssert[*chassi.File](v.FieldByIndex(p.file).Addr())
	content := f.Reader
	if content == nil {
		content = strings.NewReader("")
	}
	length, err := lengthOf(content, f.Size)
	if err != nil {
		return nil, 0, fmt.Errorf("the size of the file: %w", err)
	}
	kind, name := cmp.Or(f.Type, "application/octet-stream"), disposition("attachment", f.Name)
	if !isHeaderValue(kind) {
		return nil, 0, fmt.Errorf("the media type %q", kind)
	}
	sent := &sentFile{reader: content}
	sent.closer, _ = content.(io.Closer)
	if len(p.form) == 0 {
		header.Set("Content-Type", kind)
		header.Set("Content-Disposition", name)
		return sent, length, nil
	}
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	if err := p.writeForm(v, w); err != nil {
		return nil, 0, err
	}
	head := textproto.MIMEHeader{}
	field := multipart.FileContentDisposition(p.member, f.Name)
	head.Set("Content-Disposition", field)
	head.Set("Content-Type", kind)
	if _, err := w.CreatePart(head); err != nil {
		return nil, 0, err //nolint:wrapcheck // cannot be: a buffer takes all
	}
	before := form.Len()
	if err := w.Close(); err != nil {
		return nil, 0, err //nolint:wrapcheck // see above
	}
	all := form.Bytes()
	header.Set("Content-Type", w.FormDataContentType())
	if length >= 0 {
		_, canSeek := content.(io.Seeker)
		content = sized(content, length, canSeek)
		length += int64(len(all))
	}
	sent.reader = io.MultiReader(bytes.NewReader(all[:before]), content, bytes.NewReader(all[before:]))
	return sent, length, nil
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

// sentFile is the body of a request. net/http may read it after it has returned the response,
// and so after the call, when the caller may use the file again.
type sentFile struct {
	closer io.Closer // of the file, or nil

	mu     sync.Mutex
	reader io.Reader
	ended  bool
}

var errCallEnded = errors.New("httpapi: the call has ended")

// Read implements [io.Reader].
func (s *sentFile) Read(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return 0, errCallEnded
	}
	return s.reader.Read(b) //nolint:wrapcheck // the caller's own
}

// Close implements [io.Closer]. The file is closed at the end of the call.
func (*sentFile) Close() error { return nil }

// end closes the file, which ends a read that waits, and prevents further reads.
func (s *sentFile) end() {
	if s.closer != nil {
		_ = s.closer.Close() // it was only read
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
}

// readFile sets the file of the response, and the fields beside it.
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

// receivedFile is the body of a response.
type receivedFile struct {
	io.Reader

	end func()
}

// Close implements [io.Closer].
func (r *receivedFile) Close() error {
	r.end()
	return nil
}
