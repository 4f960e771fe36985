// Package contain recovers from panics of user functions that run in goroutines of this module.
package contain

import (
	"fmt"
	"log/slog"
	"runtime/debug"
)

// Call calls f and returns its error. If f panics, Call returns an error with the value and the
// stack of the panic.
func Call(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	return f()
}

// Run calls f. If f panics, Run logs the panic with its stack and with in, the name of the
// function. A nil logger means slog.Default().
func Run(logger *slog.Logger, in string, f func()) {
	defer func() {
		if v := recover(); v != nil {
			if logger == nil {
				logger = slog.Default()
			}
			logger.Error("panic", "in", in, "error", fmt.Sprint(v), "stack", string(debug.Stack()))
		}
	}()
	f()
}
