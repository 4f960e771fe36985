package natsapi

import (
	"fmt"
	"strings"
)

// replies holds the permitted reply subjects: a request must not make a service publish to an
// arbitrary subject.
type replies []string // patterns

// maxSubject is the maximum length of a reply subject in bytes.
const maxSubject = 512

// newReplies returns the replies for patterns, or an error if one of the patterns is invalid. A
// pattern is a subject with the wildcards "*" and, at its end, ">". Its first token must not have a
// wildcard, nor begin with "$" as the server's own subjects do.
func newReplies(patterns []string) (replies, error) {
	for _, pattern := range patterns {
		first, _, _ := strings.Cut(pattern, ".")
		if strings.HasPrefix(first, "$") || strings.ContainsAny(first, "*>") || !isSubject(strings.TrimSuffix(strings.ReplaceAll(pattern, "*", "x"), ".>")) {
			return nil, fmt.Errorf("natsapi: reply_subjects %q: want a subject such as _INBOX.>, whose first word has no wildcard and no $", pattern)
		}
	}
	return patterns, nil
}

// allow reports whether subject is valid and matches one of the patterns.
func (r replies) allow(subject string) bool {
	if !isSubject(subject) {
		return false
	}
	for _, pattern := range r {
		if matches(pattern, subject) {
			return true
		}
	}
	return false
}

// isSubject reports whether s is a subject of one or more tokens, without wildcards, spaces and
// control characters, of at most maxSubject bytes.
func isSubject(s string) bool {
	if len(s) > maxSubject {
		return false
	}
	empty := true
	for i := range len(s) {
		switch c := s[i]; {
		case c == '.':
			if empty {
				return false
			}
			empty = true
		case c <= ' ', c == 0x7f, c == '*', c == '>':
			return false
		default:
			empty = false
		}
	}
	return !empty
}

// matches reports whether subject matches pattern.
func matches(pattern, subject string) bool {
	for {
		want, morePattern, patternGoesOn := strings.Cut(pattern, ".")
		if want == ">" {
			return true
		}
		token, moreSubject, subjectGoesOn := strings.Cut(subject, ".")
		if want != "*" && want != token || patternGoesOn != subjectGoesOn {
			return false
		}
		if !patternGoesOn {
			return true
		}
		pattern, subject = morePattern, moreSubject
	}
}
