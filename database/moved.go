package database

import (
	"fmt"
	"os"
)

// requireSameFile returns an error if the path of the SQLite file refers to no file, or to a file
// other than the opened one. Writes to the open file would then be lost.
func (db *DB) requireSameFile(op string) error {
	opened := db.opened.Load()
	if opened == nil {
		return nil
	}
	now, err := os.Stat(db.target.path)
	if err == nil && os.SameFile(now, *opened) {
		return nil
	}
	if err == nil {
		return failedAs(classUnavailable, op, fmt.Errorf("the database file %s was replaced while in use; restart to use the new file, or restore the old one", db.target.path))
	}
	return failedAs(classUnavailable, op, fmt.Errorf("the database file was deleted or moved while in use; restore it, or restore a backup and restart: %w", err))
}
