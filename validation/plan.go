package validation

import (
	"fmt"
	"reflect"

	"github.com/chassi-go/chassi/schema/gotype"
)

// plan holds the checks for the values of one struct type.
type plan struct {
	fields    []field
	validates bool  // whether the struct has a method Validate
	promotion []int // indexes of the nested embedded fields that promote the method Validate
	active    bool  // whether there is anything to check
}

// field holds the checks for one field of a struct, or of a struct embedded in it.
type field struct {
	node  *node
	name  string // the name for clients
	index []int
	// zero is a zero value of the struct that declares the field. It is checked instead of an
	// embedded struct whose pointer is nil, because the fields of such a struct are absent.
	zero reflect.Value
}

// node holds the checks for one value.
type node struct {
	required, omitEmpty bool
	rules               []rule
	missing             string // the message for an empty value that is required
	anyway              bool   // whether the messages of violated rules, if any, replace missing

	inner     *plan // of a struct
	elem, key *node // of a slice, array or map; nil if nothing is checked
	validates bool  // whether a type without inner has a method Validate
	active    bool  // whether there is anything to check
}

// validator is implemented by types that validate their own values.
type validator interface{ Validate() error }

var validatorType = reflect.TypeFor[validator]()

// presence sets the message of n for an empty value that is required. It returns an error if t
// contains required or omitempty and these rules cannot apply to k.
func presence(n *node, t *tag, k *gotype.Type, pointer bool) error {
	n.missing = "is required"
	if pointer || !t.required && !t.omitEmpty {
		return nil
	}
	switch {
	case k.Kind == gotype.Struct && k.Decode == gotype.Native:
		return fmt.Errorf("required and omitempty cannot apply to the struct %v; use a pointer to the struct, or tag the fields of the struct", k.Go)
	case k.Kind == gotype.Array:
		return fmt.Errorf("required and omitempty cannot apply to %v, which always has %d elements", k.Go, k.Len)
	case k.Decode != gotype.Native:
	case k.Kind == gotype.Bool:
		n.missing = "must be true"
	case k.Kind == gotype.Int, k.Kind == gotype.Uint, k.Kind == gotype.Float, k.Kind == gotype.Duration:
		n.missing, n.anyway = "is required and must not be 0", true
	case k.Kind == gotype.List:
		n.missing, n.anyway = "must have at least 1 item", true
	case k.Kind == gotype.Map:
		n.missing, n.anyway = "must have at least 1 entry", true
	}
	return nil
}
