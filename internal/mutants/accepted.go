package main

import (
	"fmt"
	"strings"
)

// parseAccepted parses survivors.txt, and returns the reasons by the names of the mutants. An entry
// is a line with the name of a mutant, followed by indented lines with the reason. Lines that are
// empty or begin with # are ignored. An entry without a reason is an error.
func parseAccepted(text string) (map[string]string, error) {
	accepted := map[string]string{}
	name := ""
	for line := range strings.Lines(text) {
		trimmed := strings.TrimSpace(line)
		switch {
		case trimmed == "" || strings.HasPrefix(line, "#"):
		case trimmed == strings.TrimRight(line, "\n"):
			if name != "" && accepted[name] == "" {
				return nil, fmt.Errorf("survivors.txt: %q has no reason", name)
			}
			name = trimmed
			accepted[name] = ""
		default:
			accepted[name] = strings.TrimSpace(accepted[name] + " " + trimmed)
		}
	}
	if name != "" && accepted[name] == "" {
		return nil, fmt.Errorf("survivors.txt: %q has no reason", name)
	}
	return accepted, nil
}
