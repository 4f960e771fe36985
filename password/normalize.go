package password

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// MaxBytes is the maximum length of a password in bytes of UTF-8, before and after
// normalization.
const MaxBytes = 1024

// Normalize returns the password in Unicode normalization form KC. It is idempotent.
// For an invalid password it returns a [*PolicyError], with the reason [TooLong] if
// the password is longer than [MaxBytes], before or after normalization, or else with
// the reason [InvalidText] if it is invalid UTF-8 or contains a NUL.
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
