package safetext

import (
	"path"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxFileName is the maximum length of a file name, in bytes: that of most file systems.
const maxFileName = 255

// FileName returns the base name of a Windows or Unix path that a client has sent, in at most 255
// bytes: without directories, control characters and invisible characters such as those that change
// the direction of text, and with "_" in place of what Windows does not permit. It returns "" if
// nothing is left.
func FileName(given string) string {
	name := given[strings.LastIndexAny(given, `/\`)+1:]
	name = strings.Map(func(r rune) rune {
		switch {
		case r == utf8.RuneError, unicode.IsControl(r), unicode.Is(unicode.Cf, r), r == '\u2028', r == '\u2029':
			return -1
		case strings.ContainsRune(`<>:"|?*`, r):
			return '_'
		default:
			return r
		}
	}, name)
	name = trimEnd(strings.TrimSpace(name))
	if isDevice(name) {
		name = "_" + name
	}
	return shorten(name)
}

// trimEnd returns name without the dots and spaces at its end, which Windows ignores.
func trimEnd(name string) string {
	return strings.TrimRightFunc(name, func(r rune) bool { return r == '.' || unicode.IsSpace(r) })
}

// isDevice reports whether Windows takes a name for a device, whatever its extension.
func isDevice(name string) bool {
	stem, _, _ := strings.Cut(name, ".")
	stem = strings.ToUpper(strings.TrimRight(stem, " "))
	switch stem {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$":
		return true
	}
	rest, isPort := strings.CutPrefix(stem, "COM")
	if !isPort {
		rest, isPort = strings.CutPrefix(stem, "LPT")
	}
	digit, size := utf8.DecodeRuneInString(rest)
	return isPort && size == len(rest) && strings.ContainsRune("0123456789¹²³", digit)
}

// shorten returns name with at most maxFileName bytes. It truncates a longer name before the
// extension, and drops an extension that is longer than a quarter of the limit.
func shorten(name string) string {
	if len(name) <= maxFileName {
		return name
	}
	extension := path.Ext(name)
	if len(extension) > maxFileName/4 {
		extension = ""
	}
	end := maxFileName - len(extension)
	for end > 0 && !utf8.RuneStart(name[end]) {
		end--
	}
	return trimEnd(name[:end]) + extension
}
