package main

import "syscall"

// freeBytes returns the number of bytes available to the program on the disk of a directory, and
// whether the number could be determined.
func freeBytes(folder string) (float64, bool) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(folder, &s); err != nil {
		return 0, false
	}
	return float64(s.Bavail) * float64(s.Bsize), true
}
