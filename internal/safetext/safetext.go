// Package safetext sanitizes untrusted text, such as texts in error messages and the names of files.
package safetext

import (
	"strconv"
	"strings"
	"unicode"
)

// MaxName is the maximum length of a field name in errors, in bytes.
const MaxName = 100

// maxReason is the maximum length of an error's text in bytes, without an ellipsis at its end.
const maxReason = 200

// minSecret is the minimum length of a value that is hidden: shorter ones are parts of ordinary
// words.
const minSecret = 3

// Clip returns s without invalid UTF-8, and with spaces in place of control characters. If s is
// longer than limit bytes, it is truncated to that length and followed by an ellipsis.
func Clip(s string, limit int) string {
	clipped := s
	if len(s) > limit {
		clipped = s[:limit]
	}
	clipped = strings.ToValidUTF8(clipped, "")
	if strings.ContainsFunc(clipped, unicode.IsControl) {
		clipped = strings.Map(func(r rune) rune {
			if unicode.IsControl(r) {
				return ' '
			}
			return r
		}, clipped)
	}
	if len(s) > limit {
		clipped += "…"
	}
	return clipped
}

// Reason returns the text of err, an error about value from a method of a user's type: one line,
// truncated to 200 bytes, in which an ellipsis replaces value, so that a client's data is neither
// returned nor logged. A value of fewer than 3 bytes is not replaced.
func Reason(err error, value string) string {
	text := err.Error()
	if len(value) >= minSecret {
		quoted := strconv.Quote(value)
		text = strings.ReplaceAll(text, quoted[1:len(quoted)-1], "…")
		text = strings.ReplaceAll(text, value, "…")
	}
	if text = strings.TrimSpace(Clip(text, maxReason)); text == "" {
		return "is invalid"
	}
	return text
}
