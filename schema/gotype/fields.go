package gotype

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

var rawType = reflect.TypeFor[jsontext.Value]()

// candidate is a field that another field may shadow.
type candidate struct {
	Field

	goType reflect.Type
	key    string // identical for fields that shadow each other
	tagged bool   // whether a tag gives the name of the field
}

// embedded is a struct whose fields belong to the struct that contains it.
type embedded struct {
	t        reflect.Type
	index    []int
	indirect bool
	open     bool // whether to visit the structs embedded in t; false if t was visited before
}

// fields sets Fields and Rest of out, a struct, by the rules of encoding/json: it visits embedded
// structs breadth first, and a field shadows deeper fields of the same name. It returns an error if
// a field cannot be encoded.
func (b *builder) fields(out *Type) error {
	if err := ask(out); err != nil {
		return err
	}
	var all, rests []candidate
	queue := []embedded{{t: out.Go, open: true}}
	seen := map[reflect.Type]bool{out.Go: true}
	for len(queue) > 0 {
		in := queue[0]
		queue = queue[1:]
		for i := range in.t.NumField() {
			f := in.t.Field(i)
			c, ok := newCandidate(f, append(slices.Clip(in.index), i), in.indirect)
			if !ok {
				continue
			}
			inner, pointer := indirect(f.Type)
			switch {
			case !c.embeds(f):
				all = append(all, c)
			case inner.Kind() == reflect.Struct:
				if pointer && !f.IsExported() {
					return fmt.Errorf("field %s: a pointer to an unexported struct cannot be embedded, because package reflect cannot set it", f.Name)
				}
				if in.open {
					queue = append(queue, embedded{inner, c.Index, in.indirect || pointer, !seen[inner]})
				}
				seen[inner] = true
			default:
				c.goType = inner
				rests = append(rests, c)
			}
		}
	}
	return errors.Join(b.add(out, dominant(all)), b.rest(out, rests))
}

// add adds fields to out, with the descriptions of their types. It returns an error if a field
// cannot be encoded.
func (b *builder) add(out *Type, fields []candidate) error {
	var errs []error
	for _, c := range fields {
		var err error
		if c.Type, err = b.build(c.goType); err == nil {
			err = b.check(&c)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("field %s: %w", c.Name, err))
		}
		out.Fields = append(out.Fields, c.Field)
	}
	return errors.Join(errs...)
}

// newCandidate returns the candidate for f, as the tags of f describe it. The result ok is false if
// f is neither a member in JSON nor an HTTP parameter.
func newCandidate(f reflect.StructField, index []int, isIndirect bool) (c candidate, ok bool) {
	c = candidate{Field: Field{Name: f.Name, Index: index, Tag: f.Tag, Indirect: isIndirect}, goType: f.Type}
	c.Source, c.Param = sourceOf(f.Tag)
	tag := f.Tag.Get("json")
	if tag == "-" {
		c.key = "\x00" + c.Source + ":" + c.Param
		return c, c.Source != "" && f.IsExported()
	}
	if !f.IsExported() && !f.Anonymous {
		return c, false
	}
	name, options, _ := strings.Cut(tag, ",")
	c.tagged = name != ""
	c.JSON = cmp.Or(name, f.Name)
	c.key = c.JSON
	for option := range strings.SplitSeq(options, ",") {
		switch option {
		case "string":
			c.Quoted = true
		case "omitzero":
			c.OmitZero = true
		case "omitempty":
			c.OmitEmpty = true
		}
	}
	return c, true
}

func sourceOf(tag reflect.StructTag) (source, name string) {
	for _, source := range []string{"path", "query", "header", "cookie", "status"} {
		if name, ok := tag.Lookup(source); ok {
			return source, name
		}
	}
	return "", ""
}

// embeds reports whether the members of f, the field of c, belong to the struct that contains f.
func (c *candidate) embeds(f reflect.StructField) bool {
	if c.JSON == "" {
		return false
	}
	_, options, _ := strings.Cut(c.Tag.Get("json"), ",")
	return f.Anonymous && !c.tagged || slices.Contains(strings.Split(options, ","), "embed")
}

// indirect returns the element type of t and true if t is an unnamed pointer type, and t and false
// otherwise.
func indirect(t reflect.Type) (elem reflect.Type, pointer bool) {
	if t.Kind() == reflect.Pointer && t.Name() == "" {
		return t.Elem(), true
	}
	return t, false
}

// dominant returns the fields that are not shadowed, in the order of their indexes. Of several
// fields with the same name, it keeps the shallowest field. Of several equally shallow fields, it
// keeps the field whose name comes from a tag. If neither rule selects a single field, dominant
// keeps none of them, or two of them if they are fields with json:"-" for the same HTTP parameter, so
// that the transport can refuse them.
func dominant(all []candidate) []candidate {
	slices.SortStableFunc(all, func(x, y candidate) int {
		return cmp.Or(strings.Compare(x.key, y.key), cmp.Compare(len(x.Index), len(y.Index)), compareBools(!x.tagged, !y.tagged))
	})
	kept := all[:0]
	for len(all) > 0 {
		n := 1
		for n < len(all) && all[n].key == all[0].key {
			n++
		}
		switch {
		case n == 1 || len(all[0].Index) != len(all[1].Index) || all[0].tagged != all[1].tagged:
			kept = append(kept, all[0])
		case all[0].JSON == "":
			kept = append(kept, all[0], all[1])
		}
		all = all[n:]
	}
	slices.SortFunc(kept, func(x, y candidate) int { return slices.Compare(x.Index, y.Index) })
	return kept
}

func compareBools(x, y bool) int {
	switch {
	case x == y:
		return 0
	case y:
		return -1
	default:
		return 1
	}
}

// check returns an error if c has the option string but its type does not support the option. The
// JSON library reports this error only when it encodes or decodes a value.
func (b *builder) check(c *candidate) error {
	if !c.Quoted {
		return nil
	}
	elem := c.goType
	for elem.Kind() == reflect.Pointer {
		elem = elem.Elem() // of which c.Type may not know yet
	}
	t, err := b.build(elem)
	if err != nil {
		return err
	}
	if t.Kind == Int || t.Kind == Uint || t.Kind == Float || t.Kind == Duration || t.Encode != Native && t.Decode != Native {
		return nil
	}
	return fmt.Errorf("%v: the JSON option \"string\" applies only to numbers, durations and types with their own encoding and decoding", c.goType)
}

// rest sets out.Rest, the type of the members that are not fields, from rests: the maps and
// jsontext.Values with the option embed, the shallowest first. It uses the first element, and
// leaves out.Rest nil if the second element is equally shallow.
func (b *builder) rest(out *Type, rests []candidate) error {
	if len(rests) == 0 || len(rests) > 1 && len(rests[0].Index) == len(rests[1].Index) {
		return nil
	}
	t := rests[0].goType
	if t == rawType {
		t = reflect.TypeFor[any]()
	} else {
		t = t.Elem()
	}
	var err error
	if out.Rest, err = b.build(t); err != nil {
		return fmt.Errorf("field %s: %w", rests[0].Name, err)
	}
	return nil
}
