// Package safetext sanitizes untrusted file names, and untrusted text for error messages.
package safetext

import (
	"strconv"
	"strings"
	"unicode"
)

// MaxName is the maximum length of a field name in errors, in bytes, excluding the ellipsis that
// follows a truncated name.
const MaxName = 100

// maxReason is the maximum length of an error's text in bytes, excluding the ellipsis that follows
// a truncated text.
const maxReason = 200

// minSecret is the minimum length in bytes of a value that Reason hides. Shorter values also occur
// in ordinary words.
const minSecret = 3

// Clip returns s with invalid UTF-8 removed and each control character replaced with a space. If s
// is longer than limit bytes, Clip truncates it to limit bytes and appends an ellipsis.
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

// Reason returns the text of err, which a method of a user's type has returned for value, as one
// line truncated to 200 bytes. An ellipsis replaces value wherever the text quotes it, so that a
// client's data is neither returned nor logged; a value of fewer than 3 bytes is not replaced. If
// the text is empty, Reason returns "is invalid".
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
