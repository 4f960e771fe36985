//go:build !linux

package main

// freeBytes is implemented on Linux only. It returns false.
func freeBytes(string) (float64, bool) { return 0, false }
