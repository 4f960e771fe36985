// Package validation validates requests according to the validate tags of their structs, which are
// in the syntax of github.com/go-playground/validator:
//
//	Name   string            `json:"name" validate:"required,max=64"`
//	Kind   string            `json:"kind" validate:"oneof=new used 'as good as new'"`
//	Age    int               `json:"age" validate:"min=18,max=130"`
//	Nick   string            `json:"nick" validate:"omitempty,min=2,alphanum"`
//	Tags   []string          `json:"tags" validate:"max=10,unique,dive,min=1,max=20"`
//	Labels map[string]string `json:"labels" validate:"dive,keys,max=63,endkeys,max=255"`
//	Items  []*Item           `json:"items" validate:"required"`
//
// # Presence
//
// An absent value is the zero value of its type, and the rules apply to it: min=18 refuses a
// missing age in the same way as 0. A nil pointer is refused if it has any rule. With omitempty, no
// rule applies to an empty value. With required, an empty value is refused. A value is empty if it
// is the zero value of its type, such as nil, "", 0, false or the zero time.Time, or if it is a
// slice or map without elements. A non-nil pointer is never empty, so that an *int with
// omitempty,min=18 accepts an absent age and refuses 0.
//
// # Containers
//
// Structs are always checked: by value, by pointer, embedded, and in slices, arrays and maps of
// any depth. Rules before dive apply to a slice, array or map, rules after dive apply to its
// elements, and rules between keys and endkeys apply to the keys of a map. The tag "-" excludes a
// value and everything in it.
//
// # Rules
//
//	required omitempty
//	min max len eq ne gt gte lt lte   the value of a number or duration; the number of
//	                                  characters, bytes, items or entries
//	eq ne                             the value of a string or boolean
//	gt gte lt lte                     a time, without a parameter: compared with now
//	eqfield nefield gtfield gtefield  another field of the struct, by its name in Go
//	ltfield ltefield
//	oneof noneof                      strings and integers
//	unique                            slices, arrays and maps of scalar values
//	alpha alphanum alphaunicode alphanumunicode ascii printascii lowercase uppercase
//	number numeric hexadecimal hexcolor base64 base64url
//	contains containsany excludes excludesall startswith endswith startsnotwith endsnotwith
//	email e164 url http_url uri hostname hostname_rfc1123 fqdn hostname_port
//	ip ipv4 ipv6 cidr cidrv4 cidrv6 mac
//	uuid uuid4 uuid7 ulid semver datetime timezone
//
// Rules separated by | are alternatives. [New] returns an error for an unknown rule, and for a rule
// that cannot apply to the type of the value. Types with a text form (UnmarshalText) support
// required and omitempty. If such a type is a string type, it also supports the rules of strings,
// which apply to the Go value.
//
// Apart from rules that are not supported, the differences from go-playground/validator are: a slice
// or map without elements is empty, because Protocol Buffers cannot distinguish it from an absent
// slice or map; the fields of an element are checked without dive; the fields of an embedded struct
// whose pointer is nil are checked as absent; omitempty also applies to the rules before it; and email
// refuses quoted local parts.
//
// # Methods
//
// For other rules, a struct or any other named type, at any depth, can have a method
// Validate() error. The method is called if the value and everything in it satisfy their rules. Its
// error determines the result:
//   - The text of an error without a [chassi.Error] in its tree is sent to the client, in one line,
//     as a violation of the value, if [chassi.ErrorOf] gives the error the code Internal, as it
//     does for the errors of errors.New and fmt.Errorf.
//   - A [chassi.InvalidArgument] error is sent with its violations, whose paths are extended by the
//     path of the value.
//   - Any other error, such as context.Canceled, fails the call.
//
// A method that a struct promotes from an embedded struct is called once, for the outer struct. It is
// not called if the embedded pointer that promotes it is nil.
package validation

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/schema/gotype"
)

var errInvalid = chassi.NewError(chassi.InvalidArgument, "invalid_request", "The request is invalid")

// Checker validates the values of one type. It is safe for concurrent use.
type Checker struct {
	goType reflect.Type
	plan   *plan
}

// Names determines how violations name the fields that are HTTP parameters.
type Names bool

// The possible names of a field that is an HTTP parameter.
const (
	Parameters Names = false // the name of the parameter
	Members    Names = true  // the JSON member's name, if any, for transports without parameters
)

func (n Names) of(f *gotype.Field) string {
	if n == Members && f.JSON != "" {
		return f.JSON
	}
	return f.CallerName()
}

// New returns a [Checker] for the tags of t, a struct type, and of all types in it. If a tag is
// malformed or cannot apply to its field, New returns an error that names each such field. It also
// returns an error if t is not a struct type or contains a type that messages cannot have, and if a
// method Validate of an embedded field is not promoted.
func New(t reflect.Type, names Names) (*Checker, error) {
	described, err := gotype.Of(t)
	if err == nil && described.Kind != gotype.Struct {
		err = errors.New("want a struct")
	}
	c := &Checker{goType: t}
	if err == nil {
		c.plan, err = compile(described, names)
	}
	if err != nil {
		return nil, fmt.Errorf("validation: %v: %w", t, err)
	}
	return c, nil
}

// Idle reports whether c has nothing to check.
func (c *Checker) Idle() bool { return !c.plan.active }

// Check validates the struct that pointer points to. If the struct is invalid, Check returns a
// [chassi.InvalidArgument] error with the violations, in which the fields have the names that
// clients use, such as items[2].name or labels["k"]. The error contains at most 32 violations, or
// fewer if these exceed 4 KiB, and the number of further violations. If a method Validate fails
// with an error that is not about the request, Check returns that error. Check also returns an
// error if pointer is nil or is not a pointer to the struct type of c.
func (c *Checker) Check(pointer any) error {
	v := reflect.ValueOf(pointer)
	switch {
	case v.Kind() != reflect.Pointer || v.Type().Elem() != c.goType:
		return fmt.Errorf("validation: cannot check a value of type %T: want *%v", pointer, c.goType)
	case v.IsNil():
		return fmt.Errorf("validation: cannot check a nil pointer of type %T", pointer)
	}
	var w walk
	c.plan.check(&w, v.Elem())
	return w.err()
}
