package chassi_test

import (
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"
)

// The tests that docs/limits.md names are there.
func TestLimitsHaveTheirTests(t *testing.T) {
	t.Parallel()
	declaration := regexp.MustCompile(`(?m)^func (?:Test|Fuzz)(\w+)\(`)
	var names []string
	root := os.DirFS(".")
	err := fs.WalkDir(root, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
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
	document, err := os.ReadFile("docs/limits.md")
	if err != nil {
		t.Fatal(err)
	}
	all, checked := "\n"+strings.Join(names, "\n")+"\n", 0
	for line := range strings.Lines(string(document)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if !strings.HasPrefix(line, "| ") || len(cells) < 5 {
			continue
		}
		for _, name := range regexp.MustCompile(`\b(?:Fuzz)?[A-Z][a-z0-9]*[A-Z]\w+`).FindAllString(cells[len(cells)-1], -1) {
			if checked++; !strings.Contains(all, "\n"+strings.TrimPrefix(name, "Fuzz")) {
				t.Errorf("docs/limits.md names a test %s that is not there: %s", name, line)
			}
		}
	}
	if checked < 40 {
		t.Errorf("%d names were found in docs/limits.md, want more: has its form changed?", checked)
	}
}
