//go:build !unix

package standard

// descriptorLimit returns no limit on this platform.
func descriptorLimit() (n uint64, ok bool) { return 0, false }
