package idempotency_test

import (
	"fmt"

	"github.com/chassi-go/chassi/idempotency"
)

func ExampleParseKey() {
	for _, header := range []string{`"order-7"`, "order-7", `"order-7`} {
		if key, err := idempotency.ParseKey(header); err != nil {
			fmt.Println("invalid:", err)
		} else {
			fmt.Println(key)
		}
	}
	// Output:
	// order-7
	// order-7
	// invalid: must be 1 to 255 visible ASCII characters, or a quoted string of 1 to 255 printable ASCII characters
}
