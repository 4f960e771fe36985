package database

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// requireSameFile returns an error if the SQLite file that db has opened was deleted, moved or
// replaced, or if that cannot be determined. Writes to such a file would be lost.
func (db *DB) requireSameFile(op string) error {
	opened := db.opened.Load()
	if opened == nil {
		return nil
	}
	now, err := os.Stat(db.target.path)
	if err == nil && os.SameFile(now, *opened) {
		return nil
	}
	switch {
	case err == nil:
		err = fmt.Errorf("the database file %s was replaced while in use; restart to use the new file, or restore the old one", db.target.path)
	case errors.Is(err, fs.ErrNotExist):
		err = fmt.Errorf("the database file was deleted or moved while in use; restore it, or restore a backup and restart: %w", err)
	default:
		err = fmt.Errorf("cannot determine whether the database file is still in place: %w", err)
	}
	return failedAs(classUnavailable, op, err)
}
