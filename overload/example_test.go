package overload_test

import (
	"fmt"

	"github.com/chassi-go/chassi/overload"
)

func Example() {
	limiter := overload.New(overload.Config{MaxInFlight: 1, MinInFlight: 1})
	payments := limiter.Class("payments", overload.High)

	permit, ok := payments.Acquire()
	fmt.Println("first call admitted:", ok)
	_, ok = payments.Acquire()
	fmt.Println("second call admitted:", ok)

	payments.Release(permit, overload.Succeeded)
	permit, ok = payments.Acquire()
	fmt.Println("third call admitted:", ok)
	payments.Release(permit, overload.Succeeded)
	fmt.Println("refused:", limiter.Stats().Refused)
	// Output:
	// first call admitted: true
	// second call admitted: false
	// third call admitted: true
	// refused: 1
}
