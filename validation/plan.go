package validation

import (
	"fmt"
	"reflect"

	"github.com/chassi-go/chassi/schema/gotype"
)

// plan holds the checks of the values of one struct.
type plan struct {
	fields    []field
	validates bool  // whether the struct has a method Validate
	indirect  []int // the indexes of the embedded pointers that may promote that method
	active    bool  // whether there is anything to check
}

// field is one member of a struct, or of a struct embedded in it.
type field struct {
	node  *node
	name  string // the name for clients
	index []int
	// zero is an empty value of the struct that declares the field, used if the pointer to that
	// embedded struct is nil: its fields count as absent.
	zero reflect.Value
}

// node holds the checks of one value.
type node struct {
	required, omitEmpty bool
	rules               []rule
	missing             string // the message for an empty value that is required
	anyway              bool   // whether violated rules are reported instead of missing

	inner     *plan // of a struct
	elem, key *node // of a list, array or map; nil if nothing is checked
	validates bool  // whether a type other than a struct has a method Validate
	active    bool  // whether there is anything to check
}

// validator is a type with its own validation.
type validator interface{ Validate() error }

var validatorType = reflect.TypeFor[validator]()

// presence sets the message for a required value that is empty. It returns an error if required
// or omitempty cannot apply to the type.
func presence(n *node, t *tag, k *gotype.Type, pointer bool) error {
	n.missing = "is required"
	if pointer || !t.required && !t.omitEmpty {
		return nil
	}
	switch {
	case k.Kind == gotype.Struct && k.Decode == gotype.Native:
		return fmt.Errorf("required and omitempty cannot apply to the struct %v; make the field a pointer, or tag the fields of the struct", k.Go)
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
