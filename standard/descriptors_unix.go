//go:build unix

package standard

import "syscall"

// descriptorLimit returns how many file descriptors the process may have open. Go has
// raised the soft limit to the hard one before main began.
func descriptorLimit() (n uint64, ok bool) {
	var limit syscall.Rlimit
	err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit)
	return uint64(limit.Cur), err == nil //nolint:unconvert,nolintlint // an int64 on FreeBSD
}
