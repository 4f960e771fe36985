//go:build unix

package standard

import "syscall"

// descriptorLimit returns the maximum number of open file descriptors of the process, or false if
// it is unknown. The Go runtime raises the soft limit to the hard limit before main begins.
func descriptorLimit() (n uint64, ok bool) {
	var limit syscall.Rlimit
	err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit)
	return uint64(limit.Cur), err == nil //nolint:unconvert,nolintlint // an int64 on FreeBSD
}
