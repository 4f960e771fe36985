//go:build !linux

package httpapi

// limitUnsent does nothing: the number of unsent bytes needs a limit only on Linux.
func (*limitedTCP) limitUnsent() {}
