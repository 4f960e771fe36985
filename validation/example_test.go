package validation_test

import (
	"fmt"
	"reflect"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/validation"
)

// The rules of a type are compiled once. middleware.Validation does so for the requests of each
// endpoint.
func ExampleNew() {
	type account struct {
		Name string `json:"name" validate:"required,max=64"`
		Age  int    `json:"age" validate:"min=18"`
	}
	checker, err := validation.New(reflect.TypeFor[account](), validation.Parameters)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, v := range chassi.ErrorOf(checker.Check(&account{Age: 17})).Violations {
		fmt.Printf("%s: %s\n", v.Field, v.Message)
	}
	// Output:
	// name: is required
	// age: must be at least 18
}
