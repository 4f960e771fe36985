//go:build !linux

package main

// freeBytes returns 0 and false: the free space is determined on Linux only.
func freeBytes(string) (float64, bool) { return 0, false }
