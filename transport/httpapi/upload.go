package httpapi

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"reflect"
	"strings"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/safetext"
)

// maxForm is the maximum size, in bytes, of everything before the file in a form.
const maxForm = 1 << 20

// maxFormField is the maximum size, in bytes, of a field of a form.
const maxFormField = 64 << 10

// maxFormEnd is the maximum size, in bytes, of everything after the file in a form.
const maxFormEnd = 8 << 10

var errFileMediaType = &statusError{http.StatusUnsupportedMediaType, chassi.NewError(chassi.InvalidArgument, "unsupported_media_type",
	"The body must be the file, or multipart/form-data with a boundary and the file as its last part, without a content coding")}

// decodeFile sets the fields of a request with a file. The reader of the file reads the body of the
// HTTP request.
func (x *exchange) decodeFile(request any) error {
	if err := x.route.params.fill(request, x.r); err != nil {
		return err
	}
	if x.r.ContentLength > x.route.maxBody {
		return tooLarge(x.route.maxBody)
	}
	if c := x.r.Header.Get("Content-Encoding"); c != "" && !strings.EqualFold(c, "identity") {
		return errFileMediaType
	}
	target := reflect.ValueOf(request).Elem()
	file, _ := reflect.TypeAssert[*chassi.File](target.FieldByIndex(x.route.params.file).Addr())
	body := &uploadReader{x: x, progress: x.newProgress((*http.ResponseController).SetReadDeadline)}
	body.allow(x.route.maxBody, tooLarge(x.route.maxBody))
	kind, params, err := mime.ParseMediaType(x.r.Header.Get("Content-Type"))
	if strings.EqualFold(kind, "multipart/form-data") {
		if params["boundary"] == "" || err != nil {
			return errFileMediaType
		}
		return x.decodeForm(target, file, newForm(body, params["boundary"]), body)
	}
	*file = chassi.File{
		Reader: body, Name: fileName(x.r.Header.Get("Content-Disposition")), Type: fileType(x.r.Header.Get("Content-Type")), Size: max(x.r.ContentLength, 0),
	}
	return nil
}

// decodeForm reads a form up to its file, sets the fields of target, and sets file, whose reader
// reads the rest of the form. It returns an error if the form is malformed, has no file, has an
// invalid or unknown field, or exceeds a limit.
func (x *exchange) decodeForm(target reflect.Value, file *chassi.File, form *multipart.Reader, body *uploadReader) error {
	all := body.limit
	if maxForm < all {
		body.allow(maxForm, tooLong("The fields of the form are", maxForm))
	}
	given, size := make(map[string][]string), 0
	for {
		part, err := form.NextRawPart()
		if errors.Is(err, io.EOF) {
			return errMalformed.WithViolations(chassi.Violation{Field: x.route.params.member, Message: "is missing: the form has no file"})
		}
		if err != nil {
			return x.formFailed(err)
		}
		if isFile(part.Header) {
			body.allow(all, tooLarge(all))
			*file = chassi.File{
				Reader: &partReader{x: x, body: body, form: form, part: part},
				Name:   fileName(part.Header.Get("Content-Disposition")), Type: fileType(part.Header.Get("Content-Type")),
			}
			return x.route.params.fillForm(target, given)
		}
		value, err := io.ReadAll(io.LimitReader(part, maxFormField+1))
		if err != nil {
			return x.formFailed(err)
		}
		if len(value) > maxFormField {
			return tooLong("A field of the form is", maxFormField)
		}
		name := part.FormName()
		if size += len(name) + len(value); size > smallBody && x.held == 0 {
			if err := x.holdBody(maxForm); err != nil {
				return err
			}
		}
		given[name] = append(given[name], string(value))
	}
}

// newForm returns a reader of the form in body. Because a cutOff follows the body, the reader
// returns [io.EOF] only after the last boundary, and another error for a form that is cut off.
func newForm(body io.Reader, boundary string) *multipart.Reader {
	return multipart.NewReader(io.MultiReader(body, strings.NewReader("\r\n"), cutOff{}), boundary)
}

// cutOff is an io.Reader that always fails with io.ErrUnexpectedEOF.
type cutOff struct{}

func (cutOff) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// isFile reports whether the part of a form with the header h has a file name, even an empty one.
func isFile(h textproto.MIMEHeader) bool {
	_, params, _ := mime.ParseMediaType(h.Get("Content-Disposition"))
	_, ok := params["filename"]
	return ok
}

// formFailed returns the error for a form that cannot be read because of err. If reading the body
// has failed, formFailed returns the error of the body instead.
func (x *exchange) formFailed(err error) error {
	if x.transfer.failed != nil {
		return x.transfer.failed
	}
	return errMalformed.WithViolations(chassi.Violation{Message: "the form is not well-formed"}).WithCause(err)
}

// fillForm sets the form fields of target to the values given, and returns an error that lists all
// invalid and unknown fields, or nil if there are none. It deletes the known fields from given.
func (p *params) fillForm(target reflect.Value, given map[string][]string) error {
	var bad []chassi.Violation
	for i := range p.form {
		f := &p.form[i]
		if err := f.fillTexts(target, given[f.name]); err != nil {
			bad = append(bad, chassi.Violation{Field: f.name, Message: err.Error()})
		}
		delete(given, f.name)
	}
	for name := range given {
		bad = append(bad, chassi.Violation{Field: safetext.Clip(name, safetext.MaxName), Message: "is not a known field of the form"})
	}
	if bad != nil {
		return errMalformed.WithViolations(bad...)
	}
	return nil
}

// uploadReader reads the body of a request with a file. It limits the length of the body and the
// time for which it waits for the client.
type uploadReader struct {
	x        *exchange
	progress progress
	read     int64 // bytes read so far
	limit    int64 // maximum of read
	over     error // error for a longer body
}

// allow sets the maximum length of the body in bytes, and the error for a longer body.
func (u *uploadReader) allow(limit int64, over error) { u.limit, u.over = limit, over }

// Read implements [io.Reader]. Its errors other than [io.EOF] are intended for the client.
func (u *uploadReader) Read(b []byte) (int, error) {
	x := u.x
	if x.transfer.failed != nil {
		return 0, x.transfer.failed
	}
	if most := past(u.limit - u.read); int64(len(b)) > most {
		b = b[:most]
	}
	n, err := u.progress.wait(func() (int, error) { return x.r.Body.Read(b) })
	u.read += int64(n)
	switch {
	case u.read > u.limit:
		x.transfer.failed = u.over
		return 0, x.transfer.failed
	case errors.Is(err, io.EOF):
		x.read = true
		return n, io.EOF
	case err != nil:
		x.transfer.failed = readFailed(err)
		return n, x.transfer.failed
	default:
		return n, nil
	}
}

// partReader reads the file in a form.
type partReader struct {
	x    *exchange
	body *uploadReader
	form *multipart.Reader
	part *multipart.Part
	done bool
}

// Read implements [io.Reader]. It returns io.EOF only if the file is the last part of the form and
// the form is complete.
func (p *partReader) Read(b []byte) (int, error) {
	if p.x.transfer.failed != nil {
		return 0, p.x.transfer.failed
	}
	if p.done {
		return 0, io.EOF
	}
	n, err := p.part.Read(b)
	if err == nil {
		return n, nil
	}
	if errors.Is(err, io.EOF) {
		last := errMalformed.WithViolations(chassi.Violation{Field: p.x.route.params.member, Message: "must be the last part of the form"})
		if end := p.body.read + maxFormEnd; end < p.body.limit {
			p.body.allow(end, last) // the header of a part may be long
		}
		if _, err = p.form.NextRawPart(); errors.Is(err, io.EOF) {
			p.done = true
			return n, io.EOF
		}
		if err == nil {
			p.x.transfer.failed = last
		}
	}
	p.x.transfer.failed = p.x.formFailed(err)
	return n, p.x.transfer.failed
}

// fileName returns the file name in a Content-Disposition header (RFC 6266), without directories
// or unsafe characters, or "" if there is no valid name.
func fileName(disposition string) string {
	_, params, err := mime.ParseMediaType(disposition)
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) {
		return ""
	}
	return safetext.FileName(params["filename"])
}

// fileType returns given, a media type, in normal form, or "" if given is not well-formed.
func fileType(given string) string {
	kind, params, err := mime.ParseMediaType(given)
	if err != nil {
		return ""
	}
	return mime.FormatMediaType(kind, params)
}

var errNoFile = errors.New("httpapi: the method returned a chassi.File without a Reader")

// errTooShort returns the error for a download whose file ended too early. sent is the number of
// bytes that the file had, and size the number of bytes that were announced.
func errTooShort(sent, size int64) error {
	return fmt.Errorf("the file ended after %d of %d bytes", sent, size)
}
