//go:build !linux

package httpapi

// limitUnsent does nothing: only Linux needs it.
func (*limitedTCP) limitUnsent() {}
