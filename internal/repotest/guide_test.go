package repotest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var codeMark = regexp.MustCompile(`^<!-- code: (\S+) -->$`)

// TestCodeInDocuments tests that each block of Go code in the README and the guide occurs in the
// file named in the line above the block, so that the code compiles.
func TestCodeInDocuments(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob("docs/guide/*.md")
	if err != nil || len(pages) < 13 {
		t.Fatalf("%d pages of the guide, %v", len(pages), err)
	}
	blocks := 0
	for _, page := range append(pages, "README.md", "README.pt-BR.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		n, problems := checkCode(page, string(text), func(path string) (string, error) {
			file, err := os.ReadFile(path)
			return string(file), err
		})
		blocks += n
		for _, problem := range problems {
			t.Error(problem)
		}
	}
	if blocks < 20 {
		t.Errorf("%d blocks of code were found, want at least 20: has their form changed?", blocks)
	}
}

// TestCodeInDocumentsIsCompared tests that checkCode finds code that is not in the named file, and
// code without the name of a file.
func TestCodeInDocumentsIsCompared(t *testing.T) {
	t.Parallel()
	read := func(path string) (string, error) {
		if path != "a.go" {
			return "", os.ErrNotExist
		}
		return "package a\n\nfunc a() {\n\tb()\n\tc()\n\n\td()\n}\n", nil
	}
	for page, want := range map[string]string{
		"<!-- code: a.go -->\n```go\nb()\nc()\n```\n":               "",
		"<!-- code: a.go -->\n```go\nfunc a() {\n\tb()\n```\n":      "",
		"<!-- code: a.go -->\n```go\nb()\n// ...\nd()\n```\n":       "",
		"<!-- code: a.go -->\n```go\nd()\n// ...\nb()\n```\n":       "is not in a.go",
		"<!-- code: a.go -->\n\n```go\nb()\nd()\n```\n":             "p:3: the code is not in a.go",
		"<!-- code: b.go -->\n```go\nb()\n```\n":                    "file does not exist",
		"Text:\n\n```go\nb()\n```\n":                                "p:3: put <!-- code: FILE --> above",
		"```console\n$ b\n```\n":                                    "",
		"<!-- code: a.go -->\n```go\nb()\n```\n\n```go\nb()\n```\n": "p:6: put",
	} {
		_, problems := checkCode("p", page, read)
		if got := strings.Join(problems, "\n"); (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%q: found %q, want %q", page, got, want)
		}
	}
}

// checkCode returns the number of Go blocks on a page, and a message for each block that names no
// file or is not in its file. A line "// ..." in a block represents omitted lines of the file.
func checkCode(page, text string, read func(path string) (string, error)) (blocks int, problems []string) {
	above, lines := "", strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		if lines[i] != "```go" {
			if strings.TrimSpace(lines[i]) != "" {
				above = lines[i]
			}
			continue
		}
		begin := i + 1
		for i = begin; i < len(lines) && lines[i] != "```"; i++ {
		}
		blocks++
		if problem := compareCode(above, lines[begin:i], read); problem != "" {
			problems = append(problems, fmt.Sprintf("%s:%d: %s", page, begin, problem))
		}
		above = ""
	}
	return blocks, problems
}

func compareCode(mark string, code []string, read func(path string) (string, error)) string {
	found := codeMark.FindStringSubmatch(mark)
	if found == nil {
		return "put <!-- code: FILE --> above the code, with the file that it is taken from"
	}
	text, err := read(found[1])
	if err != nil {
		return err.Error()
	}
	rest := flatten(text)
	for part := range strings.SplitSeq(flatten(strings.Join(code, "\n")), "\n// ...\n") {
		_, after, ok := strings.Cut(rest, "\n"+strings.Trim(part, "\n")+"\n")
		if !ok {
			return "the code is not in " + found[1]
		}
		rest = "\n" + after
	}
	return ""
}

// flatten returns text without the white space around each line, and with a newline before the
// first line and after the last one.
func flatten(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return "\n" + strings.Join(lines, "\n") + "\n"
}
