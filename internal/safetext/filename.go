package safetext

import (
	"path"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxFileName is the maximum length of a file name in bytes. It is the limit of most file systems.
const maxFileName = 255

// FileName returns the base name of given, a Windows or Unix path that a client has sent. It
// removes invalid UTF-8, control characters, spaces at both ends, dots at the end, and invisible
// characters, such as those that change the direction of text. It replaces with "_" each character
// that Windows does not permit, prefixes the name of a Windows device with "_", and truncates the
// result to 255 bytes. It returns "" if nothing is left.
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
	name = shorten(trimEnd(strings.TrimSpace(name)))
	if isDevice(name) { // also a truncated one
		name = shorten("_" + name)
	}
	return name
}

// trimEnd returns name without the dots and spaces at its end, which Windows ignores.
func trimEnd(name string) string {
	return strings.TrimRightFunc(name, func(r rune) bool { return r == '.' || unicode.IsSpace(r) })
}

// isDevice reports whether Windows treats name as a device, regardless of its extension.
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

// shorten returns name truncated to at most maxFileName bytes. If name is too long, shorten keeps
// its extension, unless the extension is longer than a quarter of maxFileName.
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
