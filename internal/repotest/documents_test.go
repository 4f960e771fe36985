package repotest_test

import (
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"
)

// The tests that the tables in docs/limits.md and docs/operations.md name are there.
func TestLimitsHaveTheirTests(t *testing.T) {
	t.Parallel()
	declaration := regexp.MustCompile(`(?m)^func (?:Test|Fuzz|test)(\w+)\(`)
	var names []string
	root := os.DirFS(".")
	err := fs.WalkDir(root, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") && !strings.HasPrefix(path, "transport/transporttest/") {
			return err
		}
		text, err := fs.ReadFile(root, path)
		for _, found := range declaration.FindAllSubmatch(text, -1) {
			names = append(names, string(found[1]))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	all := "\n" + strings.Join(names, "\n") + "\n"
	for document, minimum := range map[string]int{"docs/limits.md": 40, "docs/operations.md": 30} {
		text, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		checked, head := 0, ""
		for line := range strings.Lines(string(text)) {
			cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
			last := strings.TrimSpace(cells[len(cells)-1])
			switch {
			case !strings.HasPrefix(line, "| "):
				head = ""
			case head == "":
				head = last
			case strings.HasPrefix(head, "test"):
				for _, name := range regexp.MustCompile(`\b(?:Fuzz)?[A-Z][a-z0-9]*[A-Z]\w+`).FindAllString(last, -1) {
					if checked++; !strings.Contains(all, "\n"+strings.TrimPrefix(name, "Fuzz")) {
						t.Errorf("%s names a test %s that is not there: %s", document, name, line)
					}
				}
			}
		}
		if checked < minimum {
			t.Errorf("%d names were found in %s, want at least %d: has its form changed?", checked, document, minimum)
		}
	}
}
