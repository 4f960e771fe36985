package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

// newFile atomically creates the file at path with mode 0600. It returns an error if the file
// exists. It calls fill with the path of an empty temporary file in the same directory, syncs that
// file and places it at path. It removes files that SQLite or a migration left next to the
// temporary file.
func newFile(path string, fill func(temp string) error) (err error) {
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("%s already exists and is not overwritten", path)
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.tmp") // mode 0600
	if err != nil {
		return err //nolint:wrapcheck // names the path
	}
	temp := f.Name()
	defer func() {
		for _, suffix := range []string{"", "-journal", "-wal", "-shm", "-migrate"} {
			err = errors.Join(err, ignoreMissing(os.Remove(temp+suffix)))
		}
	}()
	if err := f.Close(); err != nil {
		return err //nolint:wrapcheck // names the path
	}
	if err := fill(temp); err != nil {
		return err
	}
	if err := syncPath(temp); err != nil {
		return err
	}
	if err := place(temp, path); err != nil {
		return err
	}
	return syncPath(filepath.Dir(path))
}

// place makes the file temp available at path, which must not exist. It creates a hard link, which
// fails if another process has just created path; on a file system without links it renames temp.
func place(temp, path string) error {
	err := os.Link(temp, path)
	switch {
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("%s already exists and is not overwritten", path)
	case err == nil:
		return nil
	}
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("%s already exists and is not overwritten", path)
	}
	return os.Rename(temp, path) //nolint:wrapcheck // names the paths
}

// syncPath syncs a file, or the entries of a directory, to the disk.
func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err //nolint:wrapcheck // names the path
	}
	return errors.Join(f.Sync(), f.Close())
}

// untilInterrupted returns a context that is canceled when the process receives SIGINT or SIGTERM,
// or SIGHUP because its terminal closes, so that newFile can clean up. Under nohup, SIGHUP has no
// effect.
func untilInterrupted(ctx context.Context) (context.Context, context.CancelFunc) {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	return signal.NotifyContext(ctx, signals...)
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
