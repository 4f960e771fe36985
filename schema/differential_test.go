package schema_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/chassi-go/chassi/internal/strictjson"
	"github.com/chassi-go/chassi/internal/typetest"
	"github.com/chassi-go/chassi/schema"
	"github.com/chassi-go/chassi/schema/gotype"
)

var randomTypes = flag.Int("types", 300, "random types for the differential test")

// What is written validates against the published schema, and what the schema accepts is
// read: for types that only source code can have.
func TestSchemaMatchesEncoding(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for _, of := range typetest.Shapes() {
		if err := compare(of, r, 40, true); err != nil {
			t.Errorf("%v: %v", of, err)
		}
	}
	for _, of := range typetest.Particular() {
		if err := compare(of, r, 40, false); err != nil {
			t.Errorf("%v: %v", of, err)
		}
	}
}

// The same for structs assembled at random.
func TestSchemaOfRandomTypes(t *testing.T) {
	t.Parallel()
	refused := 0
	for seed := range uint64(*randomTypes) {
		r := rand.New(rand.NewPCG(seed, 0))
		of := typetest.Random(r)
		switch err := compare(of, r, 4, true); {
		case errors.Is(err, errRefused):
			refused++
		case err != nil:
			t.Errorf("seed %d: %v: %v", seed, of, err)
		}
	}
	t.Logf("%d types, %d of them refused", *randomTypes, refused)
	if refused > *randomTypes/2 {
		t.Errorf("%d of %d types were refused", refused, *randomTypes)
	}
}

func FuzzSchema(f *testing.F) {
	f.Add(uint64(1), uint64(2))
	f.Fuzz(func(t *testing.T, a, b uint64) {
		r := rand.New(rand.NewPCG(a, b))
		of := typetest.Random(r)
		if err := compare(of, r, 4, true); err != nil && !errors.Is(err, errRefused) {
			t.Errorf("%v: %v", of, err)
		}
	})
}

func TestTypesThatCannotBeCarriedHaveNoSchema(t *testing.T) {
	t.Parallel()
	for why, of := range typetest.Refused() {
		if _, err := schema.Document(of, true); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%v: %v, want %q", of, err, why)
		}
	}
}

var errRefused = errors.New("the type cannot be carried")

// compare holds the schemas of a type against the codec, with so many values. AnyText
// reports whether the texts that its methods take are any.
func compare(of reflect.Type, r *rand.Rand, values int, anyText bool) error {
	described, err := gotype.Of(of)
	if err != nil {
		return errors.Join(errRefused, mustFail(of, err))
	}
	sent, sentDocument, err := compile(of, true)
	if err != nil {
		return err
	}
	answered, _, err := compile(of, false)
	if err != nil {
		return err
	}
	for range values {
		v := reflect.New(of)
		typetest.Fill(r, v.Elem(), 5)
		var written []byte
		if err := strictjson.Append(&written, v.Interface()); err != nil {
			return fmt.Errorf("%+v cannot be written: %w", v.Elem(), err)
		}
		if err := validate(answered, written); err != nil {
			return fmt.Errorf("written %s: %w", written, err)
		}
		if sameForms(described, make(map[reflect.Type]bool)) {
			if err := validate(sent, written); err != nil {
				return fmt.Errorf("sent %s: %w", written, err)
			}
		}
		if !anyText {
			continue
		}
		g := &generator{r: r, document: sentDocument}
		drawn := g.value(sentDocument["root"].(map[string]any), 6)
		for _, candidate := range []any{drawn, g.mutate(drawn), g.mutate(parse(written)), g.mutate(g.mutate(drawn))} {
			if err := accepts(of, sent, candidate); err != nil {
				return err
			}
		}
	}
	return nil
}

// accepts fails for JSON that the schema takes and the decoder does not.
func accepts(of reflect.Type, sent *jsonschema.Schema, candidate any) error {
	text, err := json.Marshal(candidate)
	if err != nil {
		return err
	}
	if refused := validate(sent, text); refused != nil {
		return nil //nolint:nilerr // by both, or by the schema alone
	}
	err = strictjson.Decode(text, reflect.New(of).Interface(), 100)
	if errors.Is(err, jsontext.ErrDuplicateName) {
		return nil // "0" and "-0" are one key; no schema can tell
	}
	if err != nil {
		return fmt.Errorf("the schema takes %s, which is not read: %w", text, errors.Join(err, errors.Unwrap(err)))
	}
	return nil
}

// mustFail fails for a type that is refused although the library carries it both ways.
func mustFail(of reflect.Type, why error) error {
	if strings.Contains(why.Error(), "interface with methods") || strings.Contains(why.Error(), "the keys of a map") || strings.Contains(why.Error(), "cannot be encoded") {
		return nil // what fails once there is a value
	}
	v := reflect.New(of)
	var written []byte
	if err := strictjson.Append(&written, v.Interface()); err == nil && strictjson.Decode(written, v.Interface(), 100) == nil && !strings.Contains(why.Error(), "string") {
		return fmt.Errorf("refused (%w), but written as %s and read", why, written)
	}
	return nil
}

// sameForms reports whether everything in t is read as it is written.
func sameForms(t *gotype.Type, seen map[reflect.Type]bool) bool {
	if t == nil || seen[t.Go] {
		return true
	}
	seen[t.Go] = true
	if t.Encode != t.Decode || !sameForms(t.Elem, seen) || !sameForms(t.Key, seen) || !sameForms(t.Rest, seen) {
		return false
	}
	for i := range t.Fields {
		if !sameForms(t.Fields[i].Type, seen) {
			return false
		}
	}
	return true
}

func compile(of reflect.Type, isSent bool) (*jsonschema.Schema, map[string]any, error) {
	text, err := schema.Document(of, isSent)
	if err != nil {
		return nil, nil, err
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, nil, err
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	c.AssertContent()
	for _, bits := range []int{8, 16, 32, 64} {
		c.RegisterFormat(&jsonschema.Format{Name: "int" + strconv.Itoa(bits), Validate: numeric(func(s string) error {
			_, err := strconv.ParseInt(s, 10, bits)
			return err
		})})
		c.RegisterFormat(&jsonschema.Format{Name: "uint" + strconv.Itoa(bits), Validate: numeric(func(s string) error {
			_, err := strconv.ParseUint(s, 10, bits)
			return err
		})})
	}
	for name, bits := range map[string]int{"float": 32, "double": 64} {
		c.RegisterFormat(&jsonschema.Format{Name: name, Validate: numeric(func(s string) error {
			_, err := strconv.ParseFloat(s, bits)
			return err
		})})
	}
	if err := c.AddResource("document.json", document); err != nil {
		return nil, nil, err
	}
	compiled, err := c.Compile("document.json#/root")
	if err != nil {
		return nil, nil, fmt.Errorf("%w in %s", err, text)
	}
	return compiled, document.(map[string]any), nil
}

func numeric(parse func(string) error) func(any) error {
	return func(v any) error {
		switch n := v.(type) {
		case json.Number:
			return parse(n.String())
		case string:
			return parse(n)
		default:
			return nil
		}
	}
}

func validate(s *jsonschema.Schema, text []byte) error {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	return s.Validate(v)
}

func parse(text []byte) any {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	_ = d.Decode(&v) // it was written by the codec
	return v
}
