package password

import "strings"

// Blocklist is a list of passwords to reject. The zero value is empty. A lookup searches the list
// linearly: this takes about 1 ms for 10 MB, which is little compared with a hash.
type Blocklist struct {
	lines string // "\nfirst\nsecond\n", each normalized and in lower case
}

// ParseBlocklist returns a Blocklist of the passwords in text, one per line. The case of letters
// is ignored. Empty lines and lines that cannot be a password are skipped.
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
