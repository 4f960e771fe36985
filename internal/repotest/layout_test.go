package repotest_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/chassi-go/chassi"
)

// sleepers lists the functions in test files that may call time.Sleep outside a synctest bubble, in
// the form "dir/x_test.go:TestX", each with the reason.
var sleepers = map[string]string{}

// source is one parsed file of the repository.
type source struct {
	path string
	set  *token.FileSet
	file *ast.File
}

func (s source) isTest() bool { return strings.HasSuffix(s.path, "_test.go") }

func (s source) at(n ast.Node) string {
	return fmt.Sprintf("%s:%d", s.path, s.set.Position(n.Pos()).Line)
}

// walk calls visit with the path of every regular file of the repository, except in directories
// named .git, bin, dist or node_modules.
func walk(t *testing.T, visit func(path string)) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains([]string{".git", "bin", "dist", "node_modules"}, d.Name()):
			return fs.SkipDir
		case d.Type().IsRegular():
			visit(path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func parseAll(t *testing.T) []source {
	t.Helper()
	var sources []source
	walk(t, func(path string) {
		if filepath.Ext(path) != ".go" || strings.Contains(path, "testdata") {
			return
		}
		s := source{path: path, set: token.NewFileSet()}
		var err error
		if s.file, err = parser.ParseFile(s.set, path, nil, parser.ParseComments); err != nil {
			t.Fatal(err)
		}
		if ast.IsGenerated(s.file) {
			return
		}
		sources = append(sources, s)
	})
	return sources
}

func TestEachPackageHasOneDoc(t *testing.T) {
	t.Parallel()
	docs := make(map[string]int)
	for _, s := range parseAll(t) {
		if s.isTest() {
			continue
		}
		dir := filepath.Dir(s.path)
		docs[dir] += 0 // known, though this file may have none
		if s.file.Doc == nil {
			continue
		}
		docs[dir]++
		name := s.file.Name.Name
		if text := s.file.Doc.Text(); name != "main" && !strings.HasPrefix(text, "Package "+name+" ") {
			t.Errorf("%s: the package doc begins %q, want \"Package %s ...\"", s.path, firstLine(text), name)
		}
	}
	for dir, n := range docs {
		if n != 1 {
			t.Errorf("package %s has %d package docs: want one, in doc.go or the main file", dir, n)
		}
	}
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

func TestNoInitFunctions(t *testing.T) {
	t.Parallel()
	for _, s := range parseAll(t) {
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s: an init function runs behind the reader's back: call it from where it is needed", s.at(f))
			}
		}
	}
}

func TestTestsDoNotSleep(t *testing.T) {
	t.Parallel()
	sources := parseAll(t)
	bubbles := findBubbles(sources)
	for _, s := range sources {
		if !s.isTest() {
			continue
		}
		for _, d := range s.file.Decls {
			calls := callsIn(d)
			if sleepers[s.path+":"+nameOf(d)] != "" || opensBubble(calls, bubbles[filepath.Dir(s.path)]) {
				continue
			}
			for _, c := range calls["time.Sleep"] {
				t.Errorf("%s: time.Sleep in a test: wait on a channel or a condition, or run it in a synctest bubble", s.at(c))
			}
		}
	}
}

// findBubbles returns, by directory, the names of the functions that call synctest.Test.
func findBubbles(sources []source) map[string][]string {
	bubbles := make(map[string][]string)
	for _, s := range sources {
		dir := filepath.Dir(s.path)
		for _, d := range s.file.Decls {
			if len(callsIn(d)["synctest.Test"]) > 0 {
				bubbles[dir] = append(bubbles[dir], nameOf(d))
			}
		}
	}
	return bubbles
}

func opensBubble(calls map[string][]*ast.CallExpr, bubbles []string) bool {
	return len(calls["synctest.Test"]) > 0 || slices.ContainsFunc(bubbles, func(b string) bool { return len(calls[b]) > 0 })
}

func nameOf(d ast.Decl) string {
	if f, ok := d.(*ast.FuncDecl); ok {
		return f.Name.Name
	}
	return ""
}

// callsIn returns the calls in n whose function is written as f or x.f, by this text.
func callsIn(n ast.Node) map[string][]*ast.CallExpr {
	calls := make(map[string][]*ast.CallExpr)
	ast.Inspect(n, func(n ast.Node) bool {
		c, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		switch f := c.Fun.(type) {
		case *ast.Ident:
			calls[f.Name] = append(calls[f.Name], c)
		case *ast.SelectorExpr:
			if x, ok := f.X.(*ast.Ident); ok {
				calls[x.Name+"."+f.Sel.Name] = append(calls[x.Name+"."+f.Sel.Name], c)
			}
		}
		return true
	})
	return calls
}

func TestSkipsSayWhy(t *testing.T) {
	t.Parallel()
	for _, s := range parseAll(t) {
		for name, calls := range callsIn(s.file) {
			for _, c := range calls {
				if strings.HasSuffix(name, ".SkipNow") || slices.Contains([]string{"t.Skip", "b.Skip", "f.Skip", "tb.Skip"}, name) && len(c.Args) == 0 {
					t.Errorf("%s: %s without a reason: say what is missing and how to get it", s.at(c), name)
				}
			}
		}
	}
}

// TestLogKeysAreNotReserved tests that log statements do not use the keys that the logger adds to
// each line: service, time, level and msg.
func TestLogKeysAreNotReserved(t *testing.T) {
	t.Parallel()
	own := []string{`"service"`, `"time"`, `"level"`, `"msg"`}
	logging := regexp.MustCompile(`^(Debug|Info|Warn|Error|Log|With)(Context)?$`)
	attribute := regexp.MustCompile(`^slog\.[A-Z]\w*$`) // slog.String("service", x)
	for _, s := range parseAll(t) {
		if s.isTest() || strings.HasPrefix(s.path, "telemetry/") {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			c, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			f, ok := c.Fun.(*ast.SelectorExpr)
			if !ok || !logging.MatchString(f.Sel.Name) && !attribute.MatchString(fmt.Sprint(f.X)+"."+f.Sel.Name) {
				return true
			}
			for _, arg := range c.Args {
				if literal, ok := arg.(*ast.BasicLit); ok && slices.Contains(own, literal.Value) && literal.Kind == token.STRING && arg != c.Args[len(c.Args)-1] {
					t.Errorf("%s: a log line has the key %s twice: use another one", s.at(c), literal.Value)
				}
			}
			return true
		})
	}
}

// homePath matches paths of directories that exist only on one machine, such as a home directory.
var homePath = regexp.MustCompile(`/(?:home|Users)/[a-z]\w*/|/(?:root|work)/\w`)

func TestNoPathOfOneMachine(t *testing.T) {
	t.Parallel()
	walk(t, func(path string) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if len(text) > 1<<20 || !utf8.Valid(text) {
			return
		}
		if m := homePath.Find(text); m != nil {
			t.Errorf("%s names %s..., which exists on one machine only", path, m)
		}
	})
}

// TestRootStaysSmall tests that the root package, which many packages import, has at most 72
// exported names and 2800 lines. The sixteen codes are not counted.
func TestRootStaysSmall(t *testing.T) {
	t.Parallel()
	const maxNames, maxLines = 72, 2800
	codes := make(map[string]bool)
	for _, c := range chassi.Codes() {
		words := strings.FieldsFunc(c.String(), func(r rune) bool { return r == '_' })
		for i, w := range words {
			words[i] = strings.ToUpper(w[:1]) + w[1:]
		}
		codes[strings.Join(words, "")] = true
	}
	var names []string
	lines := 0
	for _, s := range parseAll(t) {
		if s.isTest() || filepath.Dir(s.path) != "." {
			continue
		}
		lines += s.set.File(s.file.Pos()).LineCount()
		for name := range s.file.Scope.Objects {
			if ast.IsExported(name) && !codes[name] {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	if len(names) > maxNames || lines > maxLines {
		t.Errorf("the root has %d exported names (want at most %d) and %d lines (want at most %d): %q", len(names), maxNames, lines, maxLines, names)
	}
	t.Logf("%d exported names, %d lines", len(names), lines)
}

// TestTablesAreComplete tests that every row of a table in a document has as many cells as the head
// of the table.
func TestTablesAreComplete(t *testing.T) {
	t.Parallel()
	code := regexp.MustCompile("`[^`]*`")
	walk(t, func(path string) {
		if filepath.Ext(path) != ".md" {
			return
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		head := 0
		for n, line := range strings.Split(string(text), "\n") {
			cells := strings.Count(code.ReplaceAllString(line, ""), "|")
			switch {
			case !strings.HasPrefix(line, "|"):
				head = 0
			case head == 0:
				head = cells
			case cells != head:
				t.Errorf("%s:%d: a row of %d cells in a table of %d", path, n+1, cells-1, head-1)
			}
		}
	})
}
