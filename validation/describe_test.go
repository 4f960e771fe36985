package validation_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chassi-go/chassi/validation"
)

// The want of each field is the description: {Present, Keywords, Notes, Keys, Elements},
// as JSON without what is empty.
type described struct {
	Plain           string            `json:"plain"`
	Required        string            `json:"required" validate:"required"`
	Flag            bool              `json:"flag" validate:"required"`
	Number          int               `json:"number" validate:"required"`
	List            []string          `json:"list" validate:"required"`
	Table           map[string]int    `json:"table" validate:"required"`
	Bytes           []byte            `json:"bytes" validate:"required"`
	Pointer         *string           `json:"pointer" validate:"required"`
	Name            string            `json:"name" validate:"required,min=3,max=9"`
	Least           string            `json:"least" validate:"min=3"`
	Optional        string            `json:"optional" validate:"omitempty,min=3"`
	OptionalInt     int               `json:"optional_int" validate:"omitempty,min=3"`
	Maps            map[string]string `json:"maps" validate:"omitempty,min=1"`
	Lists           []int             `json:"lists" validate:"omitempty,min=2"`
	OptionalPointer *string           `json:"optional_pointer" validate:"omitempty,min=3"`
	Mail            string            `json:"mail" validate:"email"`
	Either          string            `json:"either" validate:"oneof=a b|len=4"`
	Both            string            `json:"both" validate:"oneof=a b|len=4,oneof=a|len=5"`
	Twice           int               `json:"twice" validate:"min=3,gte=4,ne=7,ne=8"`
	Elements        []int             `json:"elements" validate:"max=3,dive,min=1"`
	Keyed           map[string]int    `json:"keyed" validate:"dive,keys,min=2,endkeys,max=5"`
	Quoted          int               `json:"quoted,string" validate:"required,min=3"`
	When            time.Time         `json:"when" validate:"required"`
	Later           time.Time         `json:"later" validate:"gtfield=When"`
	Around          time.Time         `json:"around" validate:"gtfield=When|ltfield=When"`
	Wait            time.Duration     `json:"wait" validate:"required,min=1s"`
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	list, err := validation.Describe(reflect.TypeFor[described]())
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"Plain":           `{}`,
		"Required":        `{"Keywords":{"minLength":1},"Present":true}`,
		"Flag":            `{"Keywords":{"const":true},"Present":true}`,
		"Number":          `{"Keywords":{"not":{"const":0}},"Present":true}`,
		"List":            `{"Keywords":{"minItems":1},"Present":true}`,
		"Table":           `{"Keywords":{"minProperties":1},"Present":true}`,
		"Bytes":           `{"Keywords":{"minLength":1},"Present":true}`,
		"Pointer":         `{"Present":true}`,
		"Name":            `{"Keywords":{"maxLength":9,"minLength":3},"Present":true}`,
		"Least":           `{"Keywords":{"minLength":3},"Present":true}`,
		"Optional":        `{"Keywords":{"anyOf":[{"maxLength":0},{"minLength":3}]}}`,
		"OptionalInt":     `{"Keywords":{"anyOf":[{"const":0},{"minimum":3}]}}`,
		"Maps":            `{"Keywords":{"anyOf":[{"maxProperties":0},{"minProperties":1}]}}`,
		"Lists":           `{"Keywords":{"anyOf":[{"maxItems":0},{"minItems":2}]}}`,
		"OptionalPointer": `{"Keywords":{"minLength":3}}`,
		"Mail":            `{"Keywords":{"format":"email","minLength":1},"Notes":["must be an e-mail address"],"Present":true}`,
		"Either":          `{"Keywords":{"anyOf":[{"enum":["a","b"]},{"maxLength":4,"minLength":4}]},"Present":true}`,
		"Both":            `{"Keywords":{"allOf":[{"anyOf":[{"enum":["a","b"]},{"maxLength":4,"minLength":4}]},{"anyOf":[{"enum":["a"]},{"maxLength":5,"minLength":5}]}]},"Present":true}`,
		"Twice":           `{"Keywords":{"allOf":[{"minimum":4},{"not":{"const":8}}],"minimum":3,"not":{"const":7}},"Present":true}`,
		"Elements":        `{"Elements":{"Keywords":{"minimum":1},"Present":true},"Keywords":{"maxItems":3}}`,
		"Keyed":           `{"Elements":{"Keywords":{"maximum":5}},"Keys":{"Keywords":{"minLength":2},"Present":true}}`,
		"Quoted":          `{"Notes":["must be at least 3","must not be empty"],"Present":true}`,
		"When":            `{"Notes":["must not be empty"],"Present":true}`,
		"Later":           `{"Notes":["must be greater than when"]}`,
		"Around":          `{"Notes":["must be greater than when, or must be less than when"]}`,
		"Wait":            `{"Notes":["must be at least 1s","must not be empty"],"Present":true}`,
	}
	got := make(map[string]string)
	for i, d := range list {
		text, err := json.Marshal(compact(&d))
		if err != nil {
			t.Fatal(err)
		}
		got[reflect.TypeFor[described]().Field(i).Name] = string(text)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// compact is a description without its empty fields.
func compact(d *validation.Description) map[string]any {
	all := make(map[string]any)
	if d.Present {
		all["Present"] = true
	}
	if d.Keywords != nil {
		all["Keywords"] = d.Keywords
	}
	if d.Notes != nil {
		all["Notes"] = d.Notes
	}
	if d.Keys != nil {
		all["Keys"] = compact(d.Keys)
	}
	if d.Elements != nil {
		all["Elements"] = compact(d.Elements)
	}
	return all
}
