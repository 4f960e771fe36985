package natsapi

import (
	"fmt"
	"strings"
)

// replies holds the patterns of the permitted reply subjects. They prevent a request from making a
// service publish to an arbitrary subject.
type replies []string // patterns

// maxSubject is the maximum length, in bytes, of a subject that isSubject accepts.
const maxSubject = 512

// newReplies returns patterns as replies, or an error if one of the patterns is invalid. A pattern
// is a subject that may contain the wildcard "*" and may end with the wildcard ">". Its first token
// must not contain a wildcard, and must not begin with "$", as the NATS server's own subjects do.
func newReplies(patterns []string) (replies, error) {
	for _, pattern := range patterns {
		first, _, _ := strings.Cut(pattern, ".")
		if strings.HasPrefix(first, "$") || strings.ContainsAny(first, "*>") || !isSubject(strings.TrimSuffix(strings.ReplaceAll(pattern, "*", "x"), ".>")) {
			return nil, fmt.Errorf("natsapi: reply_subjects %q: want a subject such as _INBOX.>, whose first word has no wildcard and does not begin with $", pattern)
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

// isSubject reports whether s is a subject of one or more tokens and at most maxSubject bytes,
// without wildcards, spaces or control characters.
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
