package password

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// MaxBytes is the length of the longest password in UTF-8, before and after
// normalisation.
const MaxBytes = 1024

// Normalize returns the password in Unicode normalisation form KC. It changes
// nothing else and is its own fixed point. The length is looked at before
// anything: over [MaxBytes] is [TooLong]; text that is not UTF-8 or holds a
// NUL is [InvalidText]. The error is a [*PolicyError].
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
