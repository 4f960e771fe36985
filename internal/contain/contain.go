// Package contain recovers panics of user functions that run in goroutines of this module.
package contain

import (
	"fmt"
	"log/slog"
	"runtime/debug"
)

// Call calls f and returns its error, or an error for its panic.
func Call(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	return f()
}

// Run calls f and logs its panic with the stack. In names the function; if logger is nil,
// slog.Default() is used.
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
