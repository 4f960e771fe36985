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

	"github.com/chassi-go/chassi"
)

// params is the plan for the fields of one request struct that come from path,
// query and header. It is made once, at registration.
type params struct {
	fields []param
	query  map[string]bool // the names that a query may have
}

type param struct {
	source string // "path", "query", "header"
	name   string
	index  []int
	set    setter
	many   bool
}

// setter parses text into a field; the error says what would be right.
type setter func(field reflect.Value, text string) error

// planParams compiles the tags of a request struct and tells whether any field
// is left for a body.
func planParams(request reflect.Type, path string) (p params, hasBody bool, err error) {
	p.query = make(map[string]bool)
	wildcards := wildcardsOf(path)
	for _, f := range reflect.VisibleFields(request) {
		if !f.IsExported() || f.Anonymous {
			continue
		}
		source, name := sourceOf(f)
		if source == "" {
			hasBody = hasBody || f.Tag.Get("json") != "-"
			continue
		}
		field := param{source: source, name: name, index: f.Index}
		t := f.Type
		if source == "query" && t.Kind() == reflect.Slice && t.Elem().Kind() != reflect.Uint8 {
			field.many, t = true, t.Elem()
		}
		if field.set, err = setterFor(t); err != nil {
			return p, false, fmt.Errorf("field %s: %w", f.Name, err)
		}
		switch source {
		case "path":
			if !wildcards[name] {
				return p, false, fmt.Errorf("field %s: path %s has no {%s}", f.Name, path, name)
			}
			delete(wildcards, name)
		case "query":
			p.query[name] = true
		}
		p.fields = append(p.fields, field)
	}
	for name := range wildcards {
		return p, false, fmt.Errorf("path %s: no field of %v has the tag path:%q", path, request, name)
	}
	return p, hasBody, nil
}

func sourceOf(f reflect.StructField) (source, name string) {
	for _, source := range []string{"path", "query", "header"} {
		if name, ok := f.Tag.Lookup(source); ok {
			return source, name
		}
	}
	return "", ""
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

// fill sets the planned fields of request, reporting every bad one at once.
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
		field, err := target.FieldByIndexErr(f.index)
		if err == nil {
			err = f.fill(field, r, query)
		}
		if err != nil {
			bad = append(bad, chassi.Violation{Field: f.name, Message: err.Error()})
		}
	}
	if bad != nil {
		return errMalformed.WithViolations(bad...)
	}
	return nil
}

// parseQuery refuses names that no field has.
func (p *params) parseQuery(raw string) (url.Values, error) {
	query, err := url.ParseQuery(raw)
	if err != nil {
		return nil, errMalformed.WithViolations(chassi.Violation{Message: "the query is not well-formed"}).WithCause(err)
	}
	for name := range query {
		if !p.query[name] {
			return nil, errMalformed.WithViolations(chassi.Violation{Field: clip(name), Message: "is not a known query parameter"})
		}
	}
	return query, nil
}

// maxFieldName bounds what is shown of a name that the client chose.
const maxFieldName = 100

func clip(name string) string {
	name = strings.ToValidUTF8(name, "")
	if len(name) > maxFieldName {
		return strings.ToValidUTF8(name[:maxFieldName], "") + "…"
	}
	return name
}

func (f *param) fill(field reflect.Value, r *http.Request, query url.Values) error {
	if !field.IsZero() {
		return fmt.Errorf("is taken from the %s, not from the body", f.source)
	}
	var texts []string
	switch f.source {
	case "path":
		texts = []string{r.PathValue(f.name)}
	case "query":
		texts = query[f.name]
	case "header":
		texts = r.Header.Values(f.name)
	}
	switch {
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
		return fmt.Errorf("is given %d times", len(texts))
	default:
		return f.set(field, texts[0])
	}
}

var unmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()

// setterFor picks the parser for a field's type.
func setterFor(t reflect.Type) (setter, error) {
	if t.Kind() == reflect.Pointer {
		inner, err := setterFor(t.Elem())
		return func(field reflect.Value, text string) error {
			field.Set(reflect.New(t.Elem()))
			return inner(field.Elem(), text)
		}, err
	}
	if reflect.PointerTo(t).Implements(unmarshaler) {
		return setText, nil
	}
	if t == reflect.TypeFor[time.Duration]() {
		return setDuration, nil
	}
	switch t.Kind() {
	case reflect.String:
		return setString, nil
	case reflect.Bool:
		return setBool, nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return setInt, nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return setUint, nil
	case reflect.Float32, reflect.Float64:
		return setFloat, nil
	default:
		return nil, fmt.Errorf("a %v cannot be read from path, query or header", t)
	}
}

func setText(field reflect.Value, text string) error {
	target, _ := reflect.TypeAssert[encoding.TextUnmarshaler](field.Addr())
	if target.UnmarshalText([]byte(text)) != nil {
		return fmt.Errorf("is not a valid %s", strings.ToLower(field.Type().Name()))
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
	n, err := strconv.ParseInt(text, 10, field.Type().Bits())
	if err != nil {
		return fmt.Errorf("must be a whole number of %d bits", field.Type().Bits())
	}
	field.SetInt(n)
	return nil
}

func setUint(field reflect.Value, text string) error {
	n, err := strconv.ParseUint(text, 10, field.Type().Bits())
	if err != nil {
		return fmt.Errorf("must be a whole number of %d bits, not negative", field.Type().Bits())
	}
	field.SetUint(n)
	return nil
}

func setFloat(field reflect.Value, text string) error {
	n, err := strconv.ParseFloat(text, field.Type().Bits())
	if err != nil || n != n || n > maxFinite || n < -maxFinite {
		return errors.New("must be a number")
	}
	field.SetFloat(n)
	return nil
}

const maxFinite = 1.797693134862315708145274237317043567981e+308

func setDuration(field reflect.Value, text string) error {
	d, err := time.ParseDuration(text)
	if err != nil {
		return errors.New("must be a duration such as 1m30s")
	}
	field.SetInt(int64(d))
	return nil
}
