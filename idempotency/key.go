package idempotency

import (
	"errors"
	"strings"
)

// MaxKey is the maximum length of a key in characters.
const MaxKey = 255

var errKey = errors.New("must have 1 to 255 visible ASCII characters, or be a string in quotes of as many printable ones")

// ParseKey parses the value of an Idempotency-Key header: a quoted string without parameters
// (RFC 8941, section 3.3.3) or, as many clients send it, unquoted visible characters. Both
// forms are the same key. The error says which form is valid.
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

// unquote returns the content of a quoted string. The text begins after the opening quote and must
// end with the closing one.
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
