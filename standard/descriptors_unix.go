//go:build unix

package standard

import "syscall"

// descriptorLimit returns the maximum number of open file descriptors of the process. Go has
// raised the soft limit to the hard one before main begins.
func descriptorLimit() (n uint64, ok bool) {
	var limit syscall.Rlimit
	err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit)
	return uint64(limit.Cur), err == nil //nolint:unconvert,nolintlint // an int64 on FreeBSD
}
