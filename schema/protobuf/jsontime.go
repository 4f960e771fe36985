package protobuf

import (
	"strconv"
	"strings"
	"time"
)

func appendTimestamp(b []byte, text string) ([]byte, error) {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || strings.Contains(text, ",") || fractionDigits(text) > 9 || t.Unix() < minTimestamp || t.Unix() > maxTimestamp {
		return b, errTimeJSON
	}
	return appendSecondsNanos(b, t.Unix(), int32(t.Nanosecond())), nil
}

// fractionDigits returns the number of digits after the first point in text.
func fractionDigits(text string) int {
	_, fraction, _ := strings.Cut(text, ".")
	return len(fraction) - len(strings.TrimLeft(fraction, "0123456789"))
}

// appendSpan appends text, a duration in the syntax of package protojson, as a
// google.protobuf.Duration. It returns errSpan if text is malformed or out of range.
func appendSpan(b []byte, text string) ([]byte, error) {
	digits, ok := strings.CutSuffix(text, "s")
	digits, negative := strings.CutPrefix(digits, "-")
	if !negative {
		digits = strings.TrimPrefix(digits, "+")
	}
	whole, fraction, dotted := strings.Cut(digits, ".")
	if !ok || whole == "" && !dotted || len(whole) > 1 && whole[0] == '0' || strings.Trim(whole+fraction, "0123456789") != "" || len(fraction) > 9 {
		return b, errSpan
	}
	seconds, err := strconv.ParseInt("0"+whole, 10, 64)
	if err != nil || seconds > maxDurationSeconds {
		return b, errSpan
	}
	nanos, err := strconv.ParseInt((fraction + "000000000")[:9], 10, 32)
	if err != nil {
		return b, errSpan
	}
	if negative {
		seconds, nanos = -seconds, -nanos
	}
	return appendSecondsNanos(b, seconds, int32(nanos)), nil
}

// maxDurationSeconds is the maximum number of seconds of a google.protobuf.Duration, about 10,000
// years.
const maxDurationSeconds = 315_576_000_000
