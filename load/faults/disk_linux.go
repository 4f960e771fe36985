package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// useDisk configures a node whose SQLite database is on a separate disk, a tmpfs of 16 MiB. It
// returns a notRun error if the disk cannot be mounted.
func (w *world) useDisk(ctx context.Context) error {
	w.disk = filepath.Join(w.dir, "disk")
	if err := os.Mkdir(w.disk, 0o700); err != nil {
		return err
	}
	if err := syscall.Mount("tmpfs", w.disk, "tmpfs", 0, "size=16m,mode=700"); err != nil {
		return notRun{fmt.Sprintf("cannot mount a disk: %v; mounting requires root", err)}
	}
	w.later(func() error { return syscall.Unmount(w.disk, 0) })
	return w.useSQLite(ctx, w.disk)
}

func (w *world) filler() string { return filepath.Join(w.disk, "filler") }

// fillDisk fills all free space of the disk with a file.
func (w *world) fillDisk() (err error) {
	f, err := os.Create(w.filler())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for block := make([]byte, 64<<10); len(block) > 0; {
		if _, err := f.Write(block); err != nil {
			if !errors.Is(err, syscall.ENOSPC) {
				return err
			}
			block = block[:len(block)/2]
		}
	}
	return nil
}

func (w *world) emptyDisk() error { return os.Remove(w.filler()) }

// remount makes the disk read-only or writable. It cannot make the disk read-only while a file on
// the disk is open for writing.
func (w *world) remount(readOnly bool) error {
	var flags uintptr = syscall.MS_REMOUNT
	if readOnly {
		flags |= syscall.MS_RDONLY
	}
	if err := syscall.Mount("tmpfs", w.disk, "tmpfs", flags, ""); err != nil {
		return fmt.Errorf("remount %s: %w", w.disk, err)
	}
	return nil
}
