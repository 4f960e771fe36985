package main

import (
	"strings"
	"testing"
)

func TestMatches(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, shown, got string
		want             bool
	}{
		{"nothing shown", "", "whatever\n", true},
		{"the same", "a\nb", "a\nb\n", true},
		{"no newline at the end", "a", "a", true},
		{"CRLF and blank lines around", "HTTP/1.1 200 OK", "\nHTTP/1.1 200 OK\r\n\r\n", true},
		{"another word", "a\nb", "a\nc\n", false},
		{"a line more", "a", "a\nb\n", false},
		{"a line less", "a\nb", "a\n", false},
		{"dots in a line", `{"token":"..."}`, `{"token":"eyJ.x.y"}`, true},
		{"dots do not cross lines", `a...b`, "a\nb", false},
		{"dots on their own line", "a\n...\nz", "a\nb\nc\nz\n", true},
		{"dots for no line at all", "a\n...\nz", "a\nz\n", true},
		{"dots at the end", "a\n...", "a\nb\n", true},
		{"text after the dots counts", "a\n...\nz", "a\nb\n", false},
		{"no regular expressions", "a.c", "abc", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var shown []string
			if c.shown != "" {
				shown = strings.Split(c.shown, "\n")
			}
			if got := matches(shown, c.got); got != c.want {
				t.Errorf("matches(%q, %q) = %v", c.shown, c.got, got)
			}
		})
	}
}

func TestMatchesStart(t *testing.T) {
	t.Parallel()
	if !matchesStart([]string{"listening ..."}, "listening on :1\nmore\n") {
		t.Error("output that goes on is refused")
	}
	if matchesStart([]string{"listening ..."}, "") {
		t.Error("output that has not come is accepted")
	}
}
