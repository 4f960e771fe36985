//go:build !unix

package config

import "io/fs"

// modesMatter reports whether the mode of a file controls access to the file.
const modesMatter = false

func isOurs(fs.FileInfo) bool { return false }
