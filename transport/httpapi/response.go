package httpapi

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/schema/gotype"
)

// responsePlan is the plan for the fields of a response struct that are not sent as JSON. It is nil
// for a struct without such fields.
type responsePlan struct {
	headers, cookies []param
	status           *param
	statuses         []int
	file             []int           // index of the field for the file, nil without a file
	members          map[string]bool // names of the JSON members that are left out of the body
	hasBody          bool            // whether there is a JSON body
}

// reservedHeaders are the headers that the server sets, and that a field must not set.
var reservedHeaders = []string{
	"Accept-Ranges", "Allow", "Cache-Control", "Connection", "Content-Encoding", "Content-Length", "Content-Range", "Content-Type", "Date",
	"Etag", "Keep-Alive", "Last-Modified", "Set-Cookie", "Trailer", "Transfer-Encoding", "Upgrade", "Www-Authenticate",
	"X-Content-Type-Options", "X-Request-Id",
}

// unfitStatuses are statuses that a response must not have, because they concern the transfer of
// the response (206, 304) or the form from which the request was sent (205).
var unfitStatuses = []int{http.StatusResetContent, http.StatusPartialContent, http.StatusNotModified}

func isReserved(name string) bool {
	return slices.Contains(reservedHeaders, name) || strings.HasPrefix(name, "Access-Control-")
}

// planResponse returns the plan for the response struct of e, or nil if all its fields are sent as
// JSON. It returns an error if a tag or a type is not supported.
func planResponse(e *chassi.Endpoint) (*responsePlan, error) {
	response := e.ResponseType()
	described, err := gotype.Of(response)
	if err != nil {
		return nil, err //nolint:wrapcheck // says which field
	}
	a := &responsePlan{members: make(map[string]bool), hasBody: described.Rest != nil}
	for i := range described.Fields {
		f := &described.Fields[i]
		if err := a.add(f); err != nil {
			return nil, fmt.Errorf("field %s: %w", f.Name, err)
		}
	}
	if a.file != nil && a.hasBody {
		return nil, errors.New("a response with a file cannot have a JSON body: every other field needs a tag for a header, a cookie or the status")
	}
	if a.file != nil {
		return a, checkFileStatuses(append(a.statuses, e.Status()))
	}
	if err := leftFile(response); err != nil {
		return nil, err
	}
	if len(a.headers)+len(a.cookies) == 0 && a.status == nil {
		return nil, nil //nolint:nilnil // the plan of most responses
	}
	return a, nil
}

// checkFileStatuses returns an error if statuses contains a status that a response with a file
// cannot have.
func checkFileStatuses(statuses []int) error {
	for _, n := range statuses {
		if n == http.StatusNoContent || slices.Contains(unfitStatuses, n) {
			return fmt.Errorf("a response with a file cannot have status %d: change chassi.Status or the tag status; to send no file, return an error", n)
		}
	}
	return nil
}

func (a *responsePlan) add(f *gotype.Field) (err error) {
	field := param{source: f.Source, name: f.Param, index: f.Index, indirect: f.Indirect}
	switch {
	case f.Type.HasFile():
		err := fileRefusal(f, "response", a.file != nil)
		a.file = f.Index
		return err
	case f.Source == "header":
		ok, _ := checkHeaderKey(f.Param)
		if field.name = http.CanonicalHeaderKey(f.Param); !ok || isReserved(field.name) {
			return fmt.Errorf("the header %q cannot be set from a field: the name is invalid, or the server sets the header", f.Param)
		}
		if f.JSON != "" {
			a.members[f.JSON] = true
		}
		if slices.ContainsFunc(a.headers, func(other param) bool { return other.name == field.name }) {
			return fmt.Errorf("another field also has the header %s", field.name)
		}
		field.set, err = setterFor(f.Type)
		a.headers = append(a.headers, field)
		return err
	case f.Source != "cookie" && f.Source != "status":
		a.hasBody = a.hasBody || f.JSON != ""
		return nil
	case f.JSON != "":
		return fmt.Errorf("the tag %s also needs json:\"-\": other transports do not carry the field", f.Source)
	case f.Source == "cookie":
		if t := f.Type.Indirect().Go; t != reflect.TypeFor[http.Cookie]() {
			return fmt.Errorf("a cookie must have the type http.Cookie, not %v", t)
		}
		if err := (&http.Cookie{Name: f.Param}).Valid(); err != nil { //nolint:gosec // only the name is checked
			return fmt.Errorf("the cookie name %q is invalid: want a token (RFC 9110, section 5.6.2)", f.Param)
		}
		a.cookies = append(a.cookies, field)
		return nil
	default:
		return a.addStatus(field, f)
	}
}

func (a *responsePlan) addStatus(field param, f *gotype.Field) error {
	if a.status != nil || f.Type.Go.Kind() != reflect.Int {
		return errors.New("a response has at most one status, which must be an int")
	}
	a.status = &field
	for text := range strings.SplitSeq(f.Param, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 200 || n > 399 || slices.Contains(unfitStatuses, n) {
			return fmt.Errorf("tag status:%q: want numbers from 200 to 399 without 205, 206 and 304, separated by commas, without spaces", f.Param)
		}
		a.statuses = append(a.statuses, n)
	}
	return nil
}

// write sets the headers and cookies of response in h, and returns the status in response, or 0 for
// the default. It returns an error if the status, a header or a cookie is invalid.
func (a *responsePlan) write(response reflect.Value, h http.Header) (status int, err error) {
	if a.status != nil {
		if status = int(a.status.in(response, true).Int()); status != 0 && !slices.Contains(a.statuses, status) {
			return 0, fmt.Errorf("the status is %d, but the tag permits only %v", status, a.statuses)
		}
	}
	for i := range a.headers {
		f := &a.headers[i]
		field := f.in(response, false)
		if !field.IsValid() {
			continue
		}
		texts, err := f.texts(field)
		if err == nil {
			err = checkHeaderValues(texts)
		}
		if err != nil {
			return 0, fmt.Errorf("the header %s: %w", f.name, err)
		}
		switch {
		case texts == nil:
		case f.name == "Vary":
			addVary(h, texts) // to that of CORS
		default:
			h[f.name] = texts
		}
	}
	for i := range a.cookies {
		if err := a.cookies[i].writeCookie(response, h); err != nil {
			return 0, err
		}
	}
	return status, nil
}

// writeCookie adds the cookie f of response to h, unless the cookie is nil or zero. It returns an
// error if the cookie is invalid.
func (f *param) writeCookie(response reflect.Value, h http.Header) error {
	field := f.in(response, false)
	for field.IsValid() && field.Kind() == reflect.Pointer {
		field = field.Elem()
	}
	if !field.IsValid() || field.IsZero() {
		return nil
	}
	c, _ := reflect.TypeAssert[http.Cookie](field) //nolint:gosec // the attributes are the service's
	c.Name = f.name
	if err := c.Valid(); err != nil {
		return fmt.Errorf("the cookie %s: %w", f.name, err)
	}
	h.Add("Set-Cookie", c.String())
	return nil
}

// read sets the fields of response that are sent as headers, cookies or the status. It reads their
// values from reply, the HTTP response that a client has received, and returns an error if a header
// is invalid.
func (a *responsePlan) read(response reflect.Value, reply *http.Response) error {
	if a.status != nil {
		a.status.in(response, true).SetInt(int64(reply.StatusCode))
	}
	for i := range a.headers {
		f := &a.headers[i]
		values := reply.Header[f.name]
		if len(values) == 0 {
			continue
		}
		if err := f.set(f.in(response, true), values[0]); err != nil {
			return fmt.Errorf("the header %s: %w", f.name, err)
		}
	}
	cookies := reply.Cookies()
	for i := range a.cookies {
		f := &a.cookies[i]
		n := slices.IndexFunc(cookies, func(c *http.Cookie) bool { return c.Name == f.name })
		if n < 0 {
			continue
		}
		field := f.in(response, true)
		for field.Kind() == reflect.Pointer {
			field.Set(reflect.New(field.Type().Elem()))
			field = field.Elem()
		}
		field.Set(reflect.ValueOf(*cookies[n]))
	}
	return nil
}

// fileOf returns the file of a response, or nil if the response has no file.
func (a *responsePlan) fileOf(response reflect.Value) *chassi.File {
	if a.file == nil {
		return nil
	}
	f, _ := reflect.TypeAssert[*chassi.File](response.FieldByIndex(a.file).Addr())
	return f
}

// strip returns b, a JSON object, without the members that are sent as headers.
func (a *responsePlan) strip(b []byte) ([]byte, error) {
	if len(a.members) == 0 {
		return b, nil
	}
	d := jsontext.NewDecoder(bytes.NewBuffer(b))
	out := make([]byte, 0, len(b))
	if _, err := d.ReadToken(); err != nil {
		return nil, err //nolint:wrapcheck // cannot be: it was just encoded
	}
	out = append(out, '{')
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return nil, err //nolint:wrapcheck // see above
		}
		skip := a.members[name.String()]
		quoted, err := jsontext.AppendQuote(nil, name.String())
		if err != nil {
			return nil, err //nolint:wrapcheck // see above
		}
		value, err := d.ReadValue()
		if err != nil {
			return nil, err //nolint:wrapcheck // see above
		}
		if skip {
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(append(out, quoted...), ':'), value...)
	}
	return append(out, '}'), nil
}
