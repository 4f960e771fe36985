//go:build !unix

package standard

// descriptorLimit returns 0 and false, because the limit is unknown on this platform.
func descriptorLimit() (n uint64, ok bool) { return 0, false }
