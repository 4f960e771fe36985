package database

import (
	"fmt"
	"os"
)

// requireSameFile fails once the SQLite file that was opened is no longer what its path
// names. The open file can still be written then, but nobody would find what is in it.
func (db *DB) requireSameFile(op string) error {
	if db.opened == nil {
		return nil
	}
	now, err := os.Stat(db.target.path)
	if err == nil && os.SameFile(now, db.opened) {
		return nil
	}
	if err == nil {
		return failedAs(classUnavailable, op, fmt.Errorf("the database file %s was replaced while it is in use: restart to use the new file, or put the old one back", db.target.path))
	}
	return failedAs(classUnavailable, op, fmt.Errorf("the database file was deleted or moved while it is in use: put it back, or restore a backup and restart: %w", err))
}
