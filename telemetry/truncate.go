package telemetry

import (
	"strconv"
	"unicode/utf8"
)

// What one log line may hold. Values come from outside too, inside of errors: a database
// quotes what it was given, a parser what it could not read.
const (
	maxKey    = 128      // bytes of a key
	maxValue  = 4 << 10  // bytes of a message or a value, before escaping
	maxStack  = 32 << 10 // bytes of a value under stackKey, which is ours
	maxRecord = 64 << 10 // bytes of a line; attributes beyond are left out

	stackKey = "stack" // see middleware.Logging
)

// truncatedKey says that attributes were left out.
const truncatedKey = "truncated"

// truncate returns text, or what of it fits in size bytes and how many it had:
// "aaa…(truncated, 70000 bytes)". It does not cut a character in two.
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

// maxOf returns how long a value of key may be.
func maxOf(key string) int {
	if key == stackKey {
		return maxStack
	}
	return maxValue
}
