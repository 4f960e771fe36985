package main

import (
	"regexp"
	"strings"
)

// matches reports whether got matches shown, the documented output: "..." matches any text in a
// line or, on a line of its own, any number of lines. If shown is empty, everything matches.
func matches(shown []string, got string) bool {
	return len(shown) == 0 || pattern(shown, `\z`).MatchString(tidy(got))
}

// matchesStart reports whether the beginning of got matches shown, with the same meaning of "..."
// as in matches. It is for the output of a running command.
func matchesStart(shown []string, got string) bool {
	return len(shown) == 0 || pattern(shown, "").MatchString(tidy(got))
}

func pattern(shown []string, end string) *regexp.Regexp {
	var expr strings.Builder
	expr.WriteString(`\A`)
	for line := range strings.Lines(tidy(strings.Join(shown, "\n"))) {
		line = strings.TrimSuffix(line, "\n")
		if strings.TrimSpace(line) == "..." {
			expr.WriteString(`(?:[^\n]*\n)*?`)
			continue
		}
		parts := strings.Split(line, "...")
		for i, part := range parts {
			parts[i] = regexp.QuoteMeta(part)
		}
		expr.WriteString(strings.Join(parts, `[^\n]*`) + `\n`)
	}
	return regexp.MustCompile(expr.String() + end)
}

var lineEnd = regexp.MustCompile(`[ \t\r]*\n`)

// tidy removes whitespace at the end of each line and blank lines around the text, and returns the
// result with a newline at its end.
func tidy(text string) string {
	return strings.Trim(lineEnd.ReplaceAllString(text+"\n", "\n"), "\n") + "\n"
}
