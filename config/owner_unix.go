//go:build unix

package config

import (
	"io/fs"
	"os"
	"syscall"
)

// modesMatter is true if the mode of a file controls the access to it.
const modesMatter = true

// isOurs reports whether the file belongs to the user that the program runs as.
func isOurs(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int64(stat.Uid) == int64(os.Geteuid())
}
