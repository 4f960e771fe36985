package repotest_test

import (
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestLimitsHaveTheirTests tests that the tests named in the tables of docs/limits.md and
// docs/operations.md exist.
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

// TestQuotedMessagesAreLogged tests that the log messages quoted in the documents occur in the
// code. It compares the parts of a message between "..." and "database", which stand for values
// that are inserted when the message is logged.
func TestQuotedMessagesAreLogged(t *testing.T) {
	t.Parallel()
	var code strings.Builder
	root := os.DirFS(".")
	err := fs.WalkDir(root, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := fs.ReadFile(root, path)
		code.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	documents, err := fs.Glob(root, "docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	quoted, checked := regexp.MustCompile("\\b(?:INFO|WARN|ERROR)\\s+`([^`]+)`"), 0
	for _, document := range documents {
		text, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range quoted.FindAllSubmatch(text, -1) {
			for _, part := range regexp.MustCompile(`\.\.\.|database`).Split(string(found[1]), -1) {
				if checked++; !strings.Contains(code.String(), part) {
					t.Errorf("%s quotes %q, and nothing logs %q", document, found[1], part)
				}
			}
		}
	}
	if checked < 20 {
		t.Errorf("%d messages were found, want at least 20: has their form changed?", checked)
	}
}
