package repotest_test

import (
	"fmt"
	"go/ast"
	"go/token"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// criteria are printed before the texts of a draw, so that two reviewers count the same.
const criteria = `Compare each text with the code at its position. Count a text as one to edit if
- it is false against the code, or leaves out what a caller must know;
- it can be understood in two ways, or not without the code that it describes;
- it has a mistake in grammar, spelling or punctuation;
- it uses a word of its own where the field has a standard term;
- it is an error message that does not tell the reader what failed, or blames the wrong cause.
A text that is right, and that you would have put differently, does not count. Nor does a doubtful
case: name those apart. A comment of one declaration is read beside that declaration, a message with
its verbs replaced by values.`

// TestDraw tests that the doc comments and error messages of the repository are found. If
// CHASSI_DRAW is set to a seed, it also prints 80 doc comments and 40 error messages, chosen at
// random with this seed, and the criteria for a review of which at most five should need an edit.
func TestDraw(t *testing.T) {
	var comments, messages []string
	for _, s := range parseAll(t) {
		if s.isTest() || ast.IsGenerated(s.file) {
			continue
		}
		comments = append(comments, docComments(s)...)
		messages = append(messages, errorMessages(s)...)
	}
	if len(comments) < 1000 || len(messages) < 200 {
		t.Errorf("%d doc comments and %d error messages, want at least 1000 and 200", len(comments), len(messages))
	}
	text, ok := os.LookupEnv("CHASSI_DRAW")
	if !ok {
		return
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("CHASSI_DRAW: %v; set it to a number, the seed of the draw", err)
	}
	r := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d: 80 of %d doc comments, 40 of %d error messages\n\n%s\n\n%s\n\n%s", seed, len(comments), len(messages), criteria,
		strings.Join(draw(r, comments, 80), "\n\n"), strings.Join(draw(r, messages, 40), "\n"))
}

// draw returns n random elements of list, or all elements if there are fewer.
func draw(r *rand.Rand, list []string, n int) []string {
	list = slices.Clone(list)
	r.Shuffle(len(list), func(i, k int) { list[i], list[k] = list[k], list[i] })
	return list[:min(n, len(list))]
}

// docComments returns the doc comments of the package and of the declarations in s, each with its
// position.
func docComments(s source) []string {
	var found []string
	add := func(doc *ast.CommentGroup) {
		if text := strings.TrimSpace(doc.Text()); text != "" {
			found = append(found, s.at(doc)+"\n"+text)
		}
	}
	add(s.file.Doc)
	for _, d := range s.file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			add(d.Doc)
		case *ast.GenDecl:
			add(d.Doc)
			ast.Inspect(d, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.Field:
					add(n.Doc)
				case *ast.TypeSpec:
					add(n.Doc)
				case *ast.ValueSpec:
					add(n.Doc)
				}
				return true
			})
		}
	}
	return found
}

// sentence matches strings that contain at least two words.
var sentence = regexp.MustCompile(`[a-zA-Z]{2}.* .*\b[a-zA-Z]{2}`)

var makesError = regexp.MustCompile(`^(errors\.New|fmt\.Errorf|(chassi\.)?NewError|.*[eE]rrorf)$`)

// errorMessages returns the string literals in s that are passed to functions that create errors,
// each with its position. It omits literals of a single word.
func errorMessages(s source) []string {
	var found []string
	ast.Inspect(s.file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || !makesError.MatchString(callee(call)) {
			return true
		}
		for _, arg := range call.Args {
			if l, ok := arg.(*ast.BasicLit); ok && l.Kind == token.STRING && sentence.MatchString(l.Value) {
				found = append(found, fmt.Sprintf("%s: %s", s.at(l), l.Value))
			}
		}
		return true
	})
	return found
}

func callee(call *ast.CallExpr) string {
	switch f := call.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		if x, ok := f.X.(*ast.Ident); ok {
			return x.Name + "." + f.Sel.Name
		}
		return f.Sel.Name
	}
	return ""
}
