package idempotency

import (
	"errors"
	"strings"
)

// MaxKey is the maximum length of a key in characters.
const MaxKey = 255

var errKey = errors.New("must be 1 to 255 visible ASCII characters, or a quoted string of 1 to 255 printable ASCII characters")

// ParseKey returns the key in the value of an Idempotency-Key header. The value is a quoted string
// without parameters (RFC 8941, section 3.3.3) or, as many clients send it, visible characters
// without quotes. Both forms of the same characters mean the same key. If the value is invalid, the
// error describes the valid forms.
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

// unquote returns the content of a quoted string and reports whether the string is valid. text
// begins after the opening quote and must end with the closing quote.
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
