package middleware_test

import (
	"context"
	"fmt"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/middleware"
)

// A layer of one's own is inserted by the name of another one.
func ExampleStack() {
	stack := middleware.NewStack(
		middleware.Layer{Name: "recovery", Middleware: middleware.Recover()},
		middleware.Layer{Name: "validation", Middleware: middleware.Validation()},
	)
	audit := func(b *chassi.Binding, next chassi.Handler) chassi.Handler {
		name := b.Endpoint.FullName() // once for each endpoint
		return func(ctx context.Context, call *chassi.Call) error {
			err := next(ctx, call)
			fmt.Println(name, call.Principal, err)
			return err
		}
	}
	stack.InsertAfter("recovery", middleware.Layer{Name: "audit", Middleware: audit})
	stack.Remove("valdation")
	fmt.Println(stack)
	fmt.Println(stack.Err())
	// Output:
	// recovery
	// audit
	// validation
	// middleware: the stack has no layer "valdation"; it has recovery, audit, validation
}
