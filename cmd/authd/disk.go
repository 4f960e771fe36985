package main

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/telemetry"
)

// observeDisk adds metrics of the size of SQLite's files and of the free space on their disk, in
// bytes. It adds none for a database without files.
func observeDisk(t *telemetry.Telemetry, db *database.DB) error {
	files := db.Files()
	if len(files) == 0 {
		return nil
	}
	sizes := func() map[string]float64 {
		return map[string]float64{databaseName: fileSize(files[0]), "wal": fileSize(files[1])}
	}
	free := func() map[string]float64 {
		bytes, ok := freeBytes(filepath.Dir(files[0]))
		if !ok {
			return nil
		}
		return map[string]float64{databaseName: bytes}
	}
	return errors.Join(
		t.RegisterGauges("authd_database_file_bytes", "Size of the files of SQLite: the database and its write-ahead log.", "file", sizes),
		t.RegisterGauges("authd_disk_free_bytes", "Free space on the disk of SQLite's files.", "of", free))
}

// fileSize returns the size of a file in bytes, or 0 if the size cannot be determined.
func fileSize(name string) float64 {
	info, err := os.Stat(name)
	if err != nil {
		return 0
	}
	return float64(info.Size())
}
