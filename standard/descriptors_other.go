//go:build !unix

package standard

// descriptorLimit knows no limit here.
func descriptorLimit() (n uint64, ok bool) { return 0, false }
