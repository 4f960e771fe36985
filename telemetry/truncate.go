package telemetry

import (
	"strconv"
	"unicode/utf8"
)

// Limits of a log line. Values may contain external text, because errors quote it: a database
// quotes its input, and a parser quotes the text that it could not parse.
const (
	maxKey    = 128      // bytes of a key
	maxValue  = 4 << 10  // bytes of a message or a value, before escaping
	maxStack  = 32 << 10 // bytes of a value under stackKey
	maxRecord = 64 << 10 // bytes of a line; further attributes are omitted

	stackKey = "stack" // key of the stack of a panic
)

// truncatedKey is the key of the attribute that marks a line from which attributes were omitted.
const truncatedKey = "truncated"

// truncate returns text if it has at most size bytes. Otherwise, it returns at most the first size
// bytes, without splitting a character, and the original length: "aaa…(truncated, 70000 bytes)".
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

// maxOf returns the maximum length of the value of an attribute with this key, in bytes.
func maxOf(key string) int {
	if key == stackKey {
		return maxStack
	}
	return maxValue
}
