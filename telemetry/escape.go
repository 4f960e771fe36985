package telemetry

import (
	"strings"
	"unicode/utf8"
)

// isPlain reports, for each byte value, whether it is an ASCII character that needs
// no escaping in JSON and on a terminal.
var isPlain = func() (plain [256]bool) {
	for c := ' '; c < 0x7f; c++ {
		plain[c] = c != '"' && c != '\\'
	}
	return plain
}()

// appendString appends text to b as a JSON string. It escapes the characters that control
// a terminal.
func appendString(b []byte, text string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(text); {
		for isPlain[text[i]] {
			if i++; i == len(text) {
				return append(append(b, text[start:]...), '"')
			}
		}
		c := text[i]
		if c < utf8.RuneSelf {
			b = appendControl(append(b, text[start:i]...), c)
			i++
			start = i
			continue
		}
		r, size := utf8.DecodeRuneInString(text[i:])
		if r == utf8.RuneError && size == 1 || isTricky(r) {
			b = appendUnicode(append(b, text[start:i]...), r)
			start = i + size
		}
		i += size
	}
	return append(append(b, text[start:]...), '"')
}

func appendControl(b []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(b, '\\', c)
	case '\n':
		return append(b, '\\', 'n')
	case '\r':
		return append(b, '\\', 'r')
	case '\t':
		return append(b, '\\', 't')
	default:
		return appendUnicode(b, rune(c))
	}
}

func appendUnicode(b []byte, r rune) []byte {
	const digits = "0123456789abcdef"
	return append(b, '\\', 'u', digits[r>>12&0xf], digits[r>>8&0xf], digits[r>>4&0xf], digits[r&0xf])
}

// appendEscaped appends the JSON that another encoder produced. It escapes the characters that
// control a terminal, which that encoder may leave unescaped.
func appendEscaped(b []byte, text string) []byte {
	for _, r := range text {
		if r == 0x7f || isTricky(r) {
			b = appendUnicode(b, r)
		} else {
			b = utf8.AppendRune(b, r)
		}
	}
	return b
}

// isTricky reports whether r is a non-ASCII character that can start a new line or overwrite text
// on a terminal: a C1 control, a line or paragraph separator, or a character that changes the
// direction of text.
func isTricky(r rune) bool {
	switch {
	case r < 0xa0:
		return r >= 0x80
	case r < 0x200e || r > 0x2069:
		return r == 0x061c
	default:
		return r <= 0x200f || r >= 0x2028 && r <= 0x202e || r >= 0x2066
	}
}

// printable returns text without characters that control a terminal. It replaces ASCII
// control characters with their pictures, such as ␊, and the characters for which
// isTricky returns true with U+FFFD.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r < ' ':
			return '␀' + r
		case r == 0x7f:
			return '␡'
		case isTricky(r):
			return utf8.RuneError
		default:
			return r
		}
	}, text)
}
