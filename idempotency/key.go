package idempotency

import (
	"errors"
	"strings"
)

// MaxKey is how many characters a key may have.
const MaxKey = 255

var errKey = errors.New("must have 1 to 255 visible ASCII characters, or be a string in quotes of as many printable ones")

// ParseKey reads the value of an Idempotency-Key header: a string as RFC 8941, section
// 3.3.3 has it, in quotes and without parameters; or, as many clients send it, bare, of
// visible characters. Both spellings are the same key. An error says what would be right.
func ParseKey(value string) (string, error) {
	key := value
	if strings.HasPrefix(value, `"`) {
		var ok bool
		if key, ok = unquote(value[1:]); !ok {
			return "", errKey
		}
	} else if strings.ContainsFunc(value, func(c rune) bool { return c <= ' ' || c >= 0x7f }) {
		return "", errKey
	}
	if len(key) == 0 || len(key) > MaxKey {
		return "", errKey
	}
	return key, nil
}

// unquote reads a string from behind its first quote to its end.
func unquote(text string) (s string, ok bool) {
	if len(text) > 2*MaxKey+1 {
		return "", false
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			return b.String(), i == len(text)-1
		case c == '\\':
			if i++; i == len(text) || text[i] != '"' && text[i] != '\\' {
				return "", false
			}
			b.WriteByte(text[i])
		case c < ' ' || c >= 0x7f:
			return "", false
		default:
			b.WriteByte(c)
		}
	}
	return "", false
}
