package validation_test

import (
	"reflect"
	"testing"

	"github.com/chassi-go/chassi/validation"
	playground "github.com/go-playground/validator/v10"
)

type benchLogin struct {
	Email    string `json:"email" validate:"required,max=254"`
	Password string `json:"password" validate:"required,max=1024"`
}

type benchItem struct {
	Name  string `json:"name" validate:"required,max=64"`
	Count int    `json:"count" validate:"min=1,max=99"`
}

type benchOrder struct {
	Name  string      `json:"name" validate:"required,min=2,max=64"`
	Kind  string      `json:"kind" validate:"oneof=new used"`
	Age   int         `json:"age" validate:"min=18,max=130"`
	Items []benchItem `json:"items" validate:"max=10000,dive"`
}

// The figures of docs/decisions/0031-validation.md.
func BenchmarkCheck(b *testing.B) {
	items := []benchItem{{"a", 1}, {"b", 2}, {"c", 3}, {"d", 4}}
	for name, c := range map[string]struct {
		request any
		good    bool
	}{
		"login":           {&benchLogin{"ada@example.org", "an analytical engine"}, true},
		"order":           {&benchOrder{"Ada", "new", 36, items}, true},
		"10000 bad items": {&benchOrder{"Ada", "new", 36, make([]benchItem, 10000)}, false},
	} {
		b.Run(name+"/chassi", func(b *testing.B) {
			ours, err := validation.New(reflect.TypeOf(c.request).Elem(), validation.Parameters)
			if err != nil {
				b.Fatal(err)
			}
			bench(b, c.good, func() error { return ours.Check(c.request) })
		})
		b.Run(name+"/go-playground", func(b *testing.B) {
			theirs := playground.New(playground.WithRequiredStructEnabled())
			bench(b, c.good, func() error { return theirs.Struct(c.request) })
		})
	}
}

func bench(b *testing.B, good bool, check func() error) {
	b.Helper()
	b.ReportAllocs()
	for b.Loop() {
		if err := check(); (err == nil) != good {
			b.Fatal(err)
		}
	}
}
