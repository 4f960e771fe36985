//go:build unix

package config

import (
	"io/fs"
	"os"
	"syscall"
)

// modesMatter reports whether the mode of a file controls access to the file.
const modesMatter = true

// isOurs reports whether the file belongs to the user that the program runs as.
func isOurs(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int64(stat.Uid) == int64(os.Geteuid())
}
