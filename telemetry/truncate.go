package telemetry

import (
	"strconv"
	"unicode/utf8"
)

// Limits of a log line. Values may contain external text inside of errors: a database quotes
// its input, a parser the text that it could not parse.
const (
	maxKey    = 128      // bytes of a key
	maxValue  = 4 << 10  // bytes of a message or a value, before escaping
	maxStack  = 32 << 10 // bytes of a value under stackKey, which only package middleware sets
	maxRecord = 64 << 10 // bytes of a line; attributes beyond are left out

	stackKey = "stack" // see middleware.Logging
)

// truncatedKey is the key that marks a line without some of its attributes.
const truncatedKey = "truncated"

// truncate returns text, shortened to size bytes with its original length: "aaa…(truncated,
// 70000 bytes)". It does not split a character.
func truncate(text string, size int) string {
	if len(text) <= size {
		return text
	}
	end := size
	for end > size-utf8.UTFMax && end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…(truncated, " + strconv.Itoa(len(text)) + " bytes)"
}

// maxOf returns the maximum length of a value of key.
func maxOf(key string) int {
	if key == stackKey {
		return maxStack
	}
	return maxValue
}
