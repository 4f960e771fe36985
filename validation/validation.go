// Package validation validates requests by the validate tags of their structs, in the tag
// syntax of github.com/go-playground/validator:
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
// missing age, as it refuses 0. A nil pointer is refused if it has any rule. With omitempty no
// rule applies to an empty value; required refuses an empty value. Empty values are nil
// pointers, "", 0, false, and lists and maps without elements. A non-nil pointer is never empty,
// so that *int with omitempty,min=18 accepts an absent age and refuses 0.
//
// # Containers
//
// Structs are always checked: by value, by pointer, embedded, and in lists, arrays and maps of
// any depth. Rules before dive apply to a list or map itself, those after it to its elements,
// and those between keys and endkeys to the keys of a map. The tag "-" excludes a value and
// everything in it.
//
// # Rules
//
//	required omitempty
//	min max len eq ne gt gte lt lte   a number or duration; characters of a string,
//	                                  where eq and ne compare; bytes, items or entries
//	gt gte lt lte                     of a time, without parameter: later, earlier than now
//	eqfield nefield gtfield gtefield  another field of the struct, by its name in Go
//	ltfield ltefield
//	oneof noneof                      strings and integers
//	unique                            lists and maps of scalar values
//	alpha alphanum alphaunicode alphanumunicode ascii printascii lowercase uppercase
//	number numeric hexadecimal hexcolor base64 base64url
//	contains containsany excludes excludesall startswith endswith startsnotwith endsnotwith
//	email e164 url http_url uri hostname hostname_rfc1123 fqdn hostname_port
//	ip ipv4 ipv6 cidr cidrv4 cidrv6 mac
//	uuid uuid4 uuid7 ulid semver datetime timezone
//
// Rules separated by | are alternatives. An unknown rule, and one that cannot apply to the
// type, is an error of [New]. Types with a text form (UnmarshalText) support required and
// omitempty, and, if they are strings, all rules of strings, which apply to the Go value.
//
// There are three differences from go-playground/validator: a list or map without elements is
// empty, because Protocol Buffers cannot distinguish it from an absent one; the fields of an
// element are checked without dive; and email refuses quoted local parts.
//
// # Methods
//
// For other rules a type implements a method Validate() error, on a struct or any other named
// type at any depth. It is called after the value and everything in it satisfy their rules. The
// text of an error without a [chassi.Error] in its tree is sent to the client, in one line, as
// the violation of the value; a [chassi.InvalidArgument] is sent with its violations below the
// value's path; any other error fails the call. A method that a struct promotes from an
// embedded struct is called once, for the outer struct.
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

// Names determines the names of HTTP parameters in violations.
type Names bool

// The kinds of names.
const (
	Parameters Names = false // the name of the parameter
	Members    Names = true  // the name of the member, for transports without parameters
)

func (n Names) of(f *gotype.Field) string {
	if n == Members && f.JSON != "" {
		return f.JSON
	}
	return f.CallerName()
}

// New compiles the tags of t, a struct, and of all types in it. The error names each field with
// a malformed or inapplicable tag.
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

// Idle reports whether there is nothing to check.
func (c *Checker) Idle() bool { return !c.plan.active }

// Check validates the struct that pointer points to. It returns a [chassi.InvalidArgument] with
// the invalid fields, as named by clients: items[2].name, labels["k"]. It reports at most 32
// violations, or fewer if they exceed 4 KiB, and the number of further ones. If a method
// Validate fails with an error that is not about the request, Check returns that error.
func (c *Checker) Check(pointer any) error {
	v := reflect.ValueOf(pointer)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Type().Elem() != c.goType {
		return fmt.Errorf("validation: cannot check a %T as a %v", pointer, c.goType)
	}
	var w walk
	c.plan.check(&w, v.Elem())
	return w.err()
}
