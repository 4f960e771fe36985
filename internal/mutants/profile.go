package main

import (
	"fmt"
	"strings"
)

// A profile is a coverage profile. It maps the path of each file, which begins with the import path
// of its package, to the blocks of the file.
type profile map[string][]block

type block struct {
	line, col, endLine, endCol int
	ran                        bool
}

// parseProfile parses the coverage profile that "go test -coverprofile" writes.
func parseProfile(text string) (profile, error) {
	p := profile{}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "mode:") {
			continue
		}
		name, rest, _ := strings.Cut(line, ":")
		var b block
		var statements, count int
		if _, err := fmt.Sscanf(rest, "%d.%d,%d.%d %d %d", &b.line, &b.col, &b.endLine, &b.endCol, &statements, &count); err != nil {
			return nil, fmt.Errorf("coverage profile: parse the line %q: %w", line, err)
		}
		b.ran = count > 0
		p[name] = append(p[name], b)
	}
	return p, nil
}

// covers reports whether a test ran the code at the given position in the file with the given name.
// Code outside all blocks, such as the value of a package variable, counts as run.
func (p profile) covers(name string, line, col int) bool {
	inside := false
	for _, b := range p[name] {
		if (line > b.line || line == b.line && col >= b.col) && (line < b.endLine || line == b.endLine && col <= b.endCol) {
			if b.ran {
				return true
			}
			inside = true
		}
	}
	return !inside
}
