package httpapi

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/safetext"
	"github.com/chassi-go/chassi/schema/gotype"
)

// params is the plan for the fields of one request struct that are set from the path, the query,
// the header or a form with a file. It is made once, when a server mounts the endpoint or a client
// binds it.
type params struct {
	fields []param
	query  map[string]bool // names of the permitted query parameters
	file   []int           // index of the field for the file, nil without a file
	form   []param         // the other fields of a form with a file
	member string          // the name of the file in a form
	lax    bool            // whether unknown query parameters are ignored
}

type param struct {
	source   string // "path", "query", "header", "form", "cookie", "status"
	name     string
	index    []int
	indirect bool // whether the field is in an embedded struct behind a pointer
	set      setter
	many     bool // whether the field is a list, with one text for each element
}

// setter parses text and sets field to the result; its error states what is required.
type setter func(field reflect.Value, text string) error

// planParams returns the plan for the struct type request, and whether any field belongs to the
// JSON body. It checks the tags against path, the path of the route, and returns an error if a tag
// or a type is not supported.
func planParams(request reflect.Type, path string) (p params, hasBody bool, err error) {
	described, err := gotype.Of(request)
	if err != nil {
		return p, false, fmt.Errorf("%v: %w", request, err)
	}
	p.query = make(map[string]bool)
	wildcards, taken := wildcardsOf(path), make(map[string]string)
	for i := range described.Fields {
		f := &described.Fields[i]
		if err := p.refusal(f); err != nil {
			return p, false, fmt.Errorf("field %s: %w", f.Name, err)
		}
		switch {
		case f.Type.Kind == gotype.File:
			p.file, p.member = f.Index, f.CallerName()
			continue
		case f.Source == "":
			hasBody = true
			continue
		}
		field := param{source: f.Source, name: f.Param, index: f.Index, indirect: f.Indirect}
		if f.Source == "header" {
			field.name = http.CanonicalHeaderKey(f.Param)
		}
		if other, twice := taken[field.source+" "+field.name]; twice {
			return p, false, fmt.Errorf("fields %s and %s are both read from the %s %s", other, f.Name, f.Source, f.Param)
		}
		taken[field.source+" "+field.name] = f.Name
		t := f.Type
		if f.Source == "query" && t.Kind == gotype.List && !t.TextIn {
			field.many, t = true, t.Elem
		}
		if field.set, err = setterFor(t); err != nil {
			return p, false, fmt.Errorf("field %s: %w", f.Name, err)
		}
		if err := p.note(f, path, wildcards); err != nil {
			return p, false, fmt.Errorf("field %s: %w", f.Name, err)
		}
		p.fields = append(p.fields, field)
	}
	for name := range wildcards {
		return p, false, fmt.Errorf("path %s: no field of %v has the tag path:%q", path, request, name)
	}
	if p.file != nil {
		return p, false, p.planForm(described)
	}
	return p, hasBody || described.Rest != nil, leftFile(request)
}

// leftFile returns an error if message, a type whose plan has no file, has a [chassi.File] field.
func leftFile(message reflect.Type) error {
	if message.Kind() != reflect.Struct {
		return nil
	}
	for _, f := range reflect.VisibleFields(message) {
		switch {
		case f.Type != reflect.TypeFor[chassi.File]() || !f.IsExported():
		case f.Tag.Get("json") == "-":
			return fmt.Errorf("field %s: a file cannot have the tag json:\"-\", which excludes it: change the tag", f.Name)
		default:
			return fmt.Errorf("field %s: the json tag of its struct, or another field with the same JSON name, excludes the file", f.Name)
		}
	}
	return nil
}

// note records the query parameter of f, or removes the path wildcard of f from wildcards. It
// returns an error if path does not have the wildcard.
func (p *params) note(f *gotype.Field, path string, wildcards map[string]bool) error {
	switch f.Source {
	case "path":
		if !wildcards[f.Param] {
			return fmt.Errorf("path %s has no {%s}", path, f.Param)
		}
		delete(wildcards, f.Param)
	case "query":
		p.query[f.Param] = true
	}
	return nil
}

// refusal returns the reason why a request cannot have the field f, or nil if the field is
// supported.
func (p *params) refusal(f *gotype.Field) error {
	switch {
	case f.Type.HasFile():
		return fileRefusal(f, "request", p.file != nil)
	case f.Source == "cookie":
		return errors.New("the tag cookie is for responses only; read cookies of a request from the header Cookie")
	case f.Source == "status":
		return errors.New("the tag status is for responses only")
	default:
		return nil
	}
}

// fileRefusal returns the reason why a message cannot have f, a field with a file, or nil if the
// field is supported. Message is "request" or "response", and second is whether the message already
// has a file.
func fileRefusal(f *gotype.Field, message string, second bool) error {
	switch {
	case f.Source != "":
		return fmt.Errorf("a file cannot have the tag %s", f.Source)
	case f.Type.Kind != gotype.File || f.Indirect:
		return fmt.Errorf("a file must be a field of the %s itself, and not behind a pointer or in a slice or map", message)
	case second:
		return errors.New("a message has at most one file")
	default:
		return nil
	}
}

// planForm adds to the plan the fields of a request with a file that are sent as form fields. It
// returns an error for a field that cannot be sent in this way.
func (p *params) planForm(described *gotype.Type) (err error) {
	if described.Rest != nil {
		return errors.New("a request with a file has no JSON body, so none of its fields can have the json option embed")
	}
	for i := range described.Fields {
		f := &described.Fields[i]
		if f.Source != "" {
			continue
		}
		if strings.ContainsFunc(f.JSON, unicode.IsControl) {
			return fmt.Errorf("field %s: the name %q in a form contains a control character: change the json tag", f.Name, f.JSON)
		}
		if f.Type.Kind == gotype.File {
			continue
		}
		field, t := param{source: "form", name: f.JSON, index: f.Index, indirect: f.Indirect}, f.Type
		if t.Kind == gotype.List && !t.TextIn {
			field.many, t = true, t.Elem
		}
		if field.set, err = setterFor(t); err != nil {
			return fmt.Errorf("field %s of a form with a file: %w", f.Name, err)
		}
		p.form = append(p.form, field)
	}
	return nil
}

func wildcardsOf(path string) map[string]bool {
	names := make(map[string]bool)
	for rest := path; ; {
		_, after, ok := strings.Cut(rest, "{")
		if !ok {
			return names
		}
		name, after, _ := strings.Cut(after, "}")
		if name = strings.TrimSuffix(name, "..."); name != "$" {
			names[name] = true
		}
		rest = after
	}
}

// fill sets the planned fields of request from r. It returns the error of parseQuery, if there is
// one, and otherwise an error that lists all invalid fields, if there are any.
func (p *params) fill(request any, r *http.Request) error {
	var query url.Values
	if r.URL.RawQuery != "" {
		var err error
		if query, err = p.parseQuery(r.URL.RawQuery); err != nil {
			return err
		}
	}
	if len(p.fields) == 0 {
		return nil
	}
	var bad []chassi.Violation
	target := reflect.ValueOf(request).Elem()
	for i := range p.fields {
		f := &p.fields[i]
		err := f.fill(target, r, query)
		if err != nil {
			bad = append(bad, chassi.Violation{Field: f.name, Message: err.Error()})
		}
	}
	if bad != nil {
		return errMalformed.WithViolations(bad...)
	}
	return nil
}

// parseQuery returns the parameters of the query raw. It returns an error if the query is malformed
// or, unless p.lax is set, has an unknown parameter.
func (p *params) parseQuery(raw string) (url.Values, error) {
	query, err := url.ParseQuery(raw)
	if err != nil {
		return nil, errMalformed.WithViolations(chassi.Violation{Message: "the query is not well-formed"}).WithCause(err)
	}
	for name := range query {
		if !p.query[name] && !p.lax {
			return nil, errMalformed.WithViolations(chassi.Violation{Field: safetext.Clip(name, safetext.MaxName), Message: "is not a known query parameter"})
		}
	}
	return query, nil
}

func (f *param) fill(request reflect.Value, r *http.Request, query url.Values) error {
	var texts []string
	switch f.source {
	case "path":
		texts = []string{r.PathValue(f.name)}
	case "query":
		texts = query[f.name]
	case "header":
		texts = r.Header[f.name]
	}
	return f.fillTexts(request, texts)
}

// fillTexts sets the field f of request to the value in texts. It returns an error if a text is
// invalid, if there are several texts and f.many is false, or if the field already has a value from
// the body.
func (f *param) fillTexts(request reflect.Value, texts []string) error {
	field := f.in(request, len(texts) > 0)
	switch {
	case field.IsValid() && !field.IsZero():
		return fmt.Errorf("must be in the %s, not in the body", f.source)
	case len(texts) == 0:
		return nil
	case f.many:
		list := reflect.MakeSlice(field.Type(), len(texts), len(texts))
		for i, text := range texts {
			if err := f.set(list.Index(i), text); err != nil {
				return err
			}
		}
		field.Set(list)
		return nil
	case len(texts) > 1:
		return fmt.Errorf("must be given once, not %d times", len(texts))
	default:
		return f.set(field, texts[0])
	}
}

// in returns the field f of request. If the field is in an embedded struct behind a nil pointer,
// the struct is allocated if allocate is true; otherwise the result is the zero [reflect.Value].
func (f *param) in(request reflect.Value, allocate bool) reflect.Value {
	if !f.indirect {
		return request.FieldByIndex(f.index)
	}
	v := request
	for _, i := range f.index {
		if v.Kind() == reflect.Pointer {
			if v.IsNil() {
				if !allocate {
					return reflect.Value{}
				}
				v.Set(reflect.New(v.Type().Elem()))
			}
			v = v.Elem()
		}
		v = v.Field(i)
	}
	return v
}

// setterFor returns the setter for fields of type t, or an error if t has no text form.
func setterFor(t *gotype.Type) (setter, error) {
	switch {
	case t.Kind == gotype.Pointer:
		inner, err := setterFor(t.Elem)
		elem := t.Elem.Go
		return func(field reflect.Value, text string) error {
			field.Set(reflect.New(elem))
			return inner(field.Elem(), text)
		}, err
	case t.TextIn:
		return setText, nil
	}
	switch t.Kind {
	case gotype.Duration:
		return setDuration, nil
	case gotype.String:
		return setString, nil
	case gotype.Bool:
		return setBool, nil
	case gotype.Int:
		return setInt, nil
	case gotype.Uint:
		return setUint, nil
	case gotype.Float:
		return setFloat, nil
	default:
		return nil, fmt.Errorf("the type %v has no text form: want a string, number, bool, duration or encoding.TextUnmarshaler", t.Go)
	}
}

func setText(field reflect.Value, text string) error {
	target, _ := reflect.TypeAssert[encoding.TextUnmarshaler](field.Addr())
	if err := target.UnmarshalText([]byte(text)); err != nil {
		if _, isTime := target.(*time.Time); isTime {
			return errors.New("must be a time such as 2006-01-02T15:04:05Z")
		}
		return errors.New(safetext.Reason(err, text))
	}
	return nil
}

func setString(field reflect.Value, text string) error {
	if strings.ToValidUTF8(text, "") != text {
		return errors.New("is not valid UTF-8")
	}
	field.SetString(text)
	return nil
}

func setBool(field reflect.Value, text string) error {
	if text != "true" && text != "false" {
		return errors.New("must be true or false")
	}
	field.SetBool(text == "true")
	return nil
}

func setInt(field reflect.Value, text string) error {
	bits := field.Type().Bits()
	n, err := strconv.ParseInt(text, 10, bits)
	if err != nil {
		return fmt.Errorf("must be a whole number from %d to %d", math.MinInt64>>(64-bits), math.MaxInt64>>(64-bits))
	}
	field.SetInt(n)
	return nil
}

func setUint(field reflect.Value, text string) error {
	bits := field.Type().Bits()
	n, err := strconv.ParseUint(text, 10, bits)
	if err != nil {
		return fmt.Errorf("must be a whole number from 0 to %d", uint64(math.MaxUint64)>>(64-bits))
	}
	field.SetUint(n)
	return nil
}

func setFloat(field reflect.Value, text string) error {
	bits, most := field.Type().Bits(), math.MaxFloat64
	if bits == 32 {
		most = math.MaxFloat32
	}
	n, err := strconv.ParseFloat(text, bits)
	if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
		return fmt.Errorf("must be a number from %g to %g", -most, most)
	}
	field.SetFloat(n)
	return nil
}

func setDuration(field reflect.Value, text string) error {
	d, err := time.ParseDuration(text)
	if err != nil {
		return errors.New("must be a duration such as 1m30s, within 292 years")
	}
	field.SetInt(int64(d))
	return nil
}
