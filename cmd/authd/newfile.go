package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// newFile creates the file at path with mode 0600, complete or not at all, and refuses one
// that exists. Fill writes to an empty temporary file in the same folder, which takes its
// place once it is on the disk.
func newFile(path string, fill func(temp string) error) (err error) {
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("%s exists already and is not overwritten", path)
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.tmp") // mode 0600
	if err != nil {
		return err //nolint:wrapcheck // names the path
	}
	temp := f.Name()
	defer func() { err = errors.Join(err, ignoreMissing(os.Remove(temp))) }()
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

// place gives temp the name path. A link fails where the name is taken, also by a process
// that took it a moment ago; a file system without links gets a rename.
func place(temp, path string) error {
	err := os.Link(temp, path)
	switch {
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("%s exists already and is not overwritten", path)
	case err == nil:
		return nil
	}
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("%s exists already and is not overwritten", path)
	}
	return os.Rename(temp, path) //nolint:wrapcheck // names the paths
}

// syncPath waits until the content of a file, or the names in a folder, are on the disk.
func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err //nolint:wrapcheck // names the path
	}
	return errors.Join(f.Sync(), f.Close())
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
