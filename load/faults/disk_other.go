//go:build !linux

package main

import "context"

const needsLinux = "only Linux has tmpfs"

func (w *world) useDisk(context.Context) error { return notRun{needsLinux} }
func (w *world) fillDisk() error               { return notRun{needsLinux} }
func (w *world) emptyDisk() error              { return notRun{needsLinux} }
func (w *world) remount(bool) error            { return notRun{needsLinux} }
