package password

import (
	_ "embed"
	"strings"
	"unicode"
)

//go:embed words.txt
var commonWords string // one per line, lower case, a line break at both ends

const (
	maxWord   = 16 // bytes of the longest line in commonWords
	maxAffix  = 6  // bytes of digits and signs around a word, before and after it together
	maxUnit   = 4  // bytes of a string whose repetition is always easy to guess
	maxDigits = 9  // up to this length, digits alone are easy to guess, as a date or a phone number
)

// isCommon reports whether a password, in lower case, is easy to guess: a common word, possibly
// repeated or changed as password-guessing programs do, a repetition of a short string, a sequence,
// a keyboard walk, or a number of at most maxDigits digits.
func isCommon(folded string) bool {
	unit := repeatedUnit(folded)
	switch {
	case folded == "":
		return false
	case unit != folded && len(unit) <= maxUnit,
		isSequence(folded), isKeyboardWalk(folded),
		len(folded) <= maxDigits && strings.Trim(folded, "0123456789") == "":
		return true
	}
	return isDecorated(unit)
}

// isDecorated reports whether s is a common word, in which digits and signs may replace letters,
// with up to six digits and signs around it, such as dragon, dragon2024! or p@ssw0rd1.
func isDecorated(s string) bool {
	for before := 0; before <= leading(s); before++ {
		for after := 0; before+after <= maxAffix && after <= trailing(s); after++ {
			if before+after < len(s) && isWord(s[before:len(s)-after]) {
				return true
			}
		}
	}
	return false
}

func isWord(s string) bool {
	if len(s) > maxWord || strings.Contains(s, "\n") {
		return false
	}
	for _, plain := range [...]string{s, unLeet(s, "i"), unLeet(s, "l")} {
		if strings.Contains(commonWords, "\n"+plain+"\n") {
			return true
		}
	}
	return false
}

// unLeet returns s with digits and signs replaced by the letters that they represent. The
// characters 1 and ! represent i or l; they are replaced by the parameter one.
func unLeet(s, one string) string {
	return strings.NewReplacer("0", "o", "1", one, "!", one, "3", "e", "4", "a", "@", "a", "5", "s", "$", "s", "7", "t").Replace(s)
}

func leading(s string) int  { return min(maxAffix, len(s)-len(strings.TrimLeftFunc(s, isPlainSign))) }
func trailing(s string) int { return min(maxAffix, len(s)-len(strings.TrimRightFunc(s, isPlainSign))) }

// isPlainSign reports whether r is an ASCII character other than a letter, so that
// it can be removed as one byte.
func isPlainSign(r rune) bool { return r < unicode.MaxASCII && !unicode.IsLetter(r) }

// repeatedUnit returns the shortest string whose repetition is s. It returns s if s
// does not repeat a shorter string.
func repeatedUnit(s string) string {
	if s == "" {
		return s
	}
	// The first occurrence of s in s+s after position 0 is at its period.
	return s[:1+strings.Index((s + s)[1:], s)]
}

// isSequence reports whether s has at least three bytes and each byte is the previous one plus 1,
// or each is the previous one minus 1, as in 23456789 and hgfedcba.
func isSequence(s string) bool {
	if len(s) < 3 {
		return false
	}
	step := int(s[1]) - int(s[0])
	for i := 1; i < len(s); i++ {
		if int(s[i])-int(s[i-1]) != step {
			return false
		}
	}
	return step == 1 || step == -1
}

// isKeyboardWalk reports whether s is a run of at least four adjacent keys, forward or backward.
// The run may continue in the next row or alternate between rows.
func isKeyboardWalk(s string) bool {
	const (
		rows    = "`1234567890-= qwertyuiop[] qwertzuiop azertyuiop qwertyuiopasdfghjklzxcvbnm 12345678900987654321"
		zigzags = "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik,9ol. 1q2w3e4r5t6y7u8i9o0p q1w2e3r4t5y6u7i8o9p0 qazwsxedcrfvtgbyhnujmikolp"
		columns = zigzags + " zaq12wsx 147258369 741852963 159357 1122334455667788990"
	)
	return len(s) >= 4 && (strings.Contains(rows, s) || strings.Contains(columns, s) ||
		strings.Contains(reversed(rows), s) || strings.Contains(reversed(columns), s))
}

func reversed(s string) string {
	b := make([]byte, len(s))
	for i := range len(s) {
		b[len(s)-1-i] = s[i]
	}
	return string(b)
}
