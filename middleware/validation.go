package middleware

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/chassi-go/chassi"
)

var errInvalidRequest = chassi.NewError(chassi.InvalidArgument, "invalid_request", "The request is invalid")

// Validation checks each decoded request against the validate tags of its struct,
// before the method sees it, and reports every bad field at once:
//
//	Name string   `json:"name" validate:"required,minlength=2,maxlength=64"`
//	Kind string   `json:"kind" validate:"oneof=new|used"`
//	Age  int      `json:"age"  validate:"min=18,max=130"`
//	Tags []string `json:"tags" validate:"minitems=1,maxitems=10"`
//
// Lengths are in code points. A field that is empty is held against required
// alone. Nested structs and slices of structs are checked too. A tag that cannot
// be read refuses every call of the endpoint as a fault of ours that names it, so
// that the first test of the endpoint finds it.
//
// What no tag can say, the request says itself: if its tags hold and it has a
// method Validate() error, the call fails with what that returns, best a
// [chassi.InvalidArgument] with violations.
func Validation() chassi.Middleware {
	return func(b *chassi.Binding, next chassi.Handler) chassi.Handler {
		request := b.Endpoint.RequestType()
		if request == nil {
			return next
		}
		plan, err := planOf(request, make(map[reflect.Type]*validationPlan))
		switch {
		case err != nil:
			err = fmt.Errorf("middleware: validate tags of %v: %w", request, err)
			b.Check(func(any) error { return err })
		case len(plan.fields) > 0:
			b.Check(func(request any) error { return plan.check(reflect.ValueOf(request).Elem()) })
		}
		if reflect.PointerTo(request).Implements(validatorType) {
			b.Check(func(request any) error { return request.(validator).Validate() }) //nolint:forcetypeassert // looked at above
		}
		return next
	}
}

type validator interface{ Validate() error }

var validatorType = reflect.TypeFor[validator]()

// validationPlan is the checks of one struct.
type validationPlan struct{ fields []fieldCheck }

type fieldCheck struct {
	index    int
	name     string
	required bool
	rules    []rule
	inner    *validationPlan // of the struct, or of the items of a slice of them
}

// rule returns what is wrong with a value that is not empty, "" for nothing.
type rule func(v reflect.Value) string

func (p *validationPlan) check(request reflect.Value) error {
	if bad := p.appendBad(nil, "", request); bad != nil {
		return errInvalidRequest.WithViolations(bad...)
	}
	return nil
}

func (p *validationPlan) appendBad(bad []chassi.Violation, prefix string, v reflect.Value) []chassi.Violation {
	for i := range p.fields {
		f := &p.fields[i]
		bad = f.appendBad(bad, prefix, v.Field(f.index))
	}
	return bad
}

func (c *fieldCheck) appendBad(bad []chassi.Violation, prefix string, v reflect.Value) []chassi.Violation {
	if v.Kind() == reflect.Pointer && !v.IsNil() {
		v = v.Elem()
	} else if v.IsZero() {
		if c.required {
			return append(bad, chassi.Violation{Field: prefix + c.name, Message: "is required"})
		}
		return bad
	}
	for _, r := range c.rules {
		if message := r(v); message != "" {
			bad = append(bad, chassi.Violation{Field: prefix + c.name, Message: message})
		}
	}
	switch {
	case c.inner == nil:
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			bad = c.inner.appendBad(bad, prefix+c.name+"["+strconv.Itoa(i)+"].", v.Index(i))
		}
	default:
		bad = c.inner.appendBad(bad, prefix+c.name+".", v)
	}
	return bad
}

// planOf compiles the tags of a struct. Done holds the plans made so far, that of
// a struct which holds itself included.
func planOf(t reflect.Type, done map[reflect.Type]*validationPlan) (*validationPlan, error) {
	if plan := done[t]; plan != nil {
		return plan, nil
	}
	plan := new(validationPlan)
	done[t] = plan
	for i := range t.NumField() {
		f := t.Field(i)
		if !f.IsExported() {
			continue
		}
		c := fieldCheck{index: i, name: jsonName(f)}
		if err := c.parse(f.Tag.Get("validate")); err != nil {
			return nil, fmt.Errorf("field %s: %w", f.Name, err)
		}
		if inner := structIn(f.Type); inner != nil {
			var err error
			if c.inner, err = planOf(inner, done); err != nil {
				return nil, err
			}
		}
		if c.required || c.rules != nil || c.inner != nil {
			plan.fields = append(plan.fields, c)
		}
	}
	return plan, nil
}

// structIn returns the struct of ours that t is, points to or lists.
func structIn(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || t.PkgPath() == "time" {
		return nil
	}
	return t
}

func jsonName(f reflect.StructField) string {
	if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" && name != "-" {
		return name
	}
	return f.Name
}

func (c *fieldCheck) parse(tag string) error {
	if tag == "" {
		return nil
	}
	for word := range strings.SplitSeq(tag, ",") {
		if word == "required" {
			c.required = true
			continue
		}
		name, value, _ := strings.Cut(word, "=")
		r, err := newRule(name, value)
		if err != nil {
			return err
		}
		c.rules = append(c.rules, r)
	}
	return nil
}

func newRule(name, value string) (rule, error) {
	if name == "oneof" {
		allowed := strings.Split(value, "|")
		message := "must be one of " + strings.Join(allowed, ", ")
		return func(v reflect.Value) string {
			return unless(slices.Contains(allowed, fmt.Sprint(v.Interface())), message)
		}, nil
	}
	limit, err := strconv.ParseFloat(value, 64)
	if err != nil {
		return nil, fmt.Errorf("rule %s=%s: want a number", name, value)
	}
	measure, message := length, "must have at "
	unit := " characters"
	switch name {
	case "min", "max":
		measure, message, unit = number, "must be at ", ""
	case "minitems", "maxitems":
		unit = " items"
	case "minlength", "maxlength":
	default:
		return nil, fmt.Errorf("rule %s is unknown: want required, min, max, minlength, maxlength, minitems, maxitems or oneof", name)
	}
	if strings.HasPrefix(name, "min") {
		message += "least " + value + unit
		return func(v reflect.Value) string { return unless(measure(v) >= limit, message) }, nil
	}
	message += "most " + value + unit
	return func(v reflect.Value) string { return unless(measure(v) <= limit, message) }, nil
}

func unless(ok bool, message string) string {
	if ok {
		return ""
	}
	return message
}

func length(v reflect.Value) float64 {
	switch v.Kind() {
	case reflect.String:
		return float64(utf8.RuneCountInString(v.String()))
	case reflect.Slice, reflect.Map, reflect.Array:
		return float64(v.Len())
	default:
		return 0
	}
}

func number(v reflect.Value) float64 {
	switch {
	case v.CanInt():
		return float64(v.Int())
	case v.CanUint():
		return float64(v.Uint())
	case v.CanFloat():
		return v.Float()
	default:
		return 0
	}
}
