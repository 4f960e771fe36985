package password

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// MaxBytes is the maximum length of a password in bytes of UTF-8, before and after
// normalization.
const MaxBytes = 1024

// Normalize returns the password in Unicode normalization form KC. It is idempotent. It returns
// a [*PolicyError]: [TooLong] above [MaxBytes], which is checked first, and [InvalidText] for
// invalid UTF-8 or a NUL.
func Normalize(password string) (string, error) {
	if len(password) > MaxBytes {
		return "", refuse(TooLong)
	}
	if !utf8.ValidString(password) || strings.Contains(password, "\x00") {
		return "", refuse(InvalidText)
	}
	password = norm.NFKC.String(password)
	if len(password) > MaxBytes { // one code point can become eighteen
		return "", refuse(TooLong)
	}
	return password, nil
}
