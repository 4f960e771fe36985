package httpapi

import (
	"encoding"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// write encodes the fields of request that are not part of the body. It returns pattern with its
// wildcards replaced by escaped values, and the query parameters, and adds the headers to header.
// It returns an error if a value is missing or cannot be sent.
func (p *params) write(pattern string, request any, header http.Header) (path string, query url.Values, err error) {
	path, query = strings.ReplaceAll(pattern, "{$}", ""), make(url.Values)
	v := reflect.ValueOf(request).Elem()
	for i := range p.fields {
		f := &p.fields[i]
		field := f.in(v, false)
		if !field.IsValid() { // in a nil embedded struct
			if f.source == "path" {
				return "", nil, fmt.Errorf("the path parameter %s is missing: the pointer to its embedded struct is nil", f.name)
			}
			continue
		}
		texts, err := f.texts(field)
		switch {
		case err != nil:
		case f.source == "path":
			path, err = fillPath(path, f.name, texts[0])
		case f.source == "header":
			err = checkHeaderValues(texts)
		}
		if err != nil {
			return "", nil, &fieldError{f.name, err}
		}
		switch f.source {
		case "query":
			query[f.name] = texts
		case "header":
			header[f.name] = texts
		}
	}
	return path, query, nil
}

// texts returns the encoded values of field: one value for each element of a slice, and otherwise
// one value, or nil if field is zero and not in the path.
func (f *param) texts(field reflect.Value) ([]string, error) {
	if !f.many {
		if f.source != "path" && field.IsZero() {
			return nil, nil
		}
		text, err := textOf(field)
		return []string{text}, err
	}
	texts := make([]string, field.Len())
	for i := range texts {
		var err error
		if texts[i], err = textOf(field.Index(i)); err != nil {
			return nil, err
		}
	}
	return texts, nil
}

// fillPath returns path with the wildcard called name replaced by text, in escaped form. It returns
// an error if text would make the path ambiguous, because the server would then respond with 404.
func fillPath(path, name, text string) (string, error) {
	if strings.ContainsRune(text, 0) {
		return "", errors.New("must not contain a NUL in a path")
	}
	if rest := "{" + name + "...}"; strings.Contains(path, rest) {
		segments := strings.Split(text, "/")
		for i, segment := range segments {
			if isDots(segment) || segment == "" && i < len(segments)-1 {
				return "", fmt.Errorf("must not contain the segment %q in a path", segment)
			}
			segments[i] = url.PathEscape(segment)
		}
		return strings.Replace(path, rest, strings.Join(segments, "/"), 1), nil
	}
	if text == "" || text == "/" || isDots(text) { // net/http's mux treats %2F alone as the end of the path
		return "", fmt.Errorf("must not be %q as a segment of a path", text)
	}
	return strings.Replace(path, "{"+name+"}", url.PathEscape(text), 1), nil
}

func isDots(segment string) bool { return segment == "." || segment == ".." }

// checkHeaderValues returns an error if one of texts would not be transmitted unchanged in a header
// (RFC 9110, section 5.5).
func checkHeaderValues(texts []string) error {
	for _, text := range texts {
		if !isHeaderValue(text) || strings.Trim(text, " \t") != text {
			return errors.New("must not contain control characters, or begin or end with a space or tab")
		}
	}
	return nil
}

// withoutParams returns a copy of request in which the fields for the path, the query and the
// header are zero, or request itself if there are no such fields.
func (p *params) withoutParams(request any) any {
	if len(p.fields) == 0 {
		return request
	}
	body := reflect.New(reflect.TypeOf(request).Elem())
	body.Elem().Set(reflect.ValueOf(request).Elem())
	for i := range p.fields {
		p.fields[i].clear(body.Elem())
	}
	return body.Interface()
}

// clear sets the field f of body to zero. If the field is in embedded structs behind pointers,
// clear first replaces these structs by copies, because the originals belong to the caller.
func (f *param) clear(body reflect.Value) {
	v := body
	for _, i := range f.index {
		if v.Kind() == reflect.Pointer {
			if v.IsNil() {
				return
			}
			own := reflect.New(v.Type().Elem())
			own.Elem().Set(v.Elem())
			v.Set(own)
			v = own.Elem()
		}
		v = v.Field(i)
	}
	v.SetZero()
}

// textOf returns the text form of v, which the setter for the type of v can parse. The text form of
// a nil pointer is empty.
func textOf(v reflect.Value) (string, error) {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return "", nil
		}
		v = v.Elem()
	}
	if v.CanAddr() {
		if m, ok := reflect.TypeAssert[encoding.TextMarshaler](v.Addr()); ok {
			text, err := m.MarshalText()
			return string(text), err
		}
	}
	if d, ok := reflect.TypeAssert[time.Duration](v); ok {
		return d.String(), nil
	}
	switch v.Kind() {
	case reflect.String: // its type may have a method String, which setString does not parse
		return v.String(), nil
	case reflect.Bool:
		return strconv.FormatBool(v.Bool()), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return strconv.FormatInt(v.Int(), 10), nil
	case reflect.Float32, reflect.Float64:
		return strconv.FormatFloat(v.Float(), 'g', -1, v.Type().Bits()), nil
	default:
		return strconv.FormatUint(v.Uint(), 10), nil
	}
}
