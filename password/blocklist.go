package password

import "strings"

// Blocklist holds passwords that are not to be used. The zero value is empty.
// Looking one up reads the list through, about a millisecond for 10 MB:
// nothing beside a hash.
type Blocklist struct {
	lines string // "\nfirst\nsecond\n", each normalised and in lower case
}

// ParseBlocklist reads one password per line. Case does not matter. Empty lines
// and lines that cannot be a password are left out.
func ParseBlocklist(text string) Blocklist {
	var b strings.Builder
	b.WriteByte('\n')
	for line := range strings.Lines(text) {
		word, err := Normalize(strings.TrimRight(line, "\r\n"))
		if err != nil || word == "" {
			continue
		}
		b.WriteString(strings.ToLower(word))
		b.WriteByte('\n')
	}
	return Blocklist{lines: b.String()}
}

func (b Blocklist) has(folded string) bool {
	return folded != "" && !strings.Contains(folded, "\n") && strings.Contains(b.lines, "\n"+folded+"\n")
}
