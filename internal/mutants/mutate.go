package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
)

// A mutant is one change to one file.
type mutant struct {
	name       string // the path of the file, from the root of the module
	function   string // "" outside functions
	line, col  int
	start, end int // offsets in the file of the code that is replaced
	with       string
	from, to   string // the source line before and after the change
}

// String returns the name of the mutant in survivors.txt. The name contains no line number, so that
// it does not change when other lines are added or removed.
func (m mutant) String() string {
	return fmt.Sprintf("%s: %s: %s => %s", m.name, m.function, m.from, m.to)
}

// swaps maps each operator that mutants replace to its replacements: the opposite operator and, for
// <, <=, > and >=, also the operator that differs only for equal operands.
var swaps = map[token.Token][]token.Token{
	token.EQL:  {token.NEQ},
	token.NEQ:  {token.EQL},
	token.LSS:  {token.GEQ, token.LEQ},
	token.LEQ:  {token.GTR, token.LSS},
	token.GTR:  {token.LEQ, token.GEQ},
	token.GEQ:  {token.LSS, token.GTR},
	token.LAND: {token.LOR},
	token.LOR:  {token.LAND},
	token.ADD:  {token.SUB},
	token.SUB:  {token.ADD},
	token.MUL:  {token.QUO},
	token.QUO:  {token.MUL},

	token.INC:        {token.DEC},
	token.DEC:        {token.INC},
	token.ADD_ASSIGN: {token.SUB_ASSIGN},
	token.SUB_ASSIGN: {token.ADD_ASSIGN},
}

// mutate returns the mutants of the file with the given name and source. It returns an error if the
// source cannot be parsed.
func mutate(name, source string) ([]mutant, error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, source, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	m := &mutator{name: name, source: source, fset: fset}
	for _, d := range file.Decls {
		m.function = ""
		if f, ok := d.(*ast.FuncDecl); ok {
			m.function = f.Name.Name
		}
		ast.Inspect(d, m.inspect)
	}
	return m.found, nil
}

// A mutator finds the mutants of one file.
type mutator struct {
	name, source, function string
	fset                   *token.FileSet
	found                  []mutant
}

func (m *mutator) replace(from, to token.Pos, with string) {
	p, end := m.fset.Position(from), m.fset.Position(to).Offset
	m.found = append(m.found, mutant{
		name: m.name, function: m.function, line: p.Line, col: p.Column, start: p.Offset, end: end, with: with,
		from: lineOf(m.source, p.Offset, end, m.source[p.Offset:end]), to: lineOf(m.source, p.Offset, end, with),
	})
}

func (m *mutator) operator(at token.Pos, op token.Token) {
	for _, other := range swaps[op] {
		m.replace(at, at+token.Pos(len(op.String())), other.String())
	}
}

func (m *mutator) inspect(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.BinaryExpr:
		m.operator(n.OpPos, n.Op)
	case *ast.IncDecStmt:
		m.operator(n.TokPos, n.Tok)
	case *ast.AssignStmt:
		m.operator(n.TokPos, n.Tok)
	case *ast.IfStmt:
		cond := m.source[m.fset.Position(n.Cond.Pos()).Offset:m.fset.Position(n.Cond.End()).Offset]
		m.replace(n.Cond.Pos(), n.Cond.End(), "("+cond+") && false")
	case *ast.UnaryExpr:
		if n.Op == token.NOT {
			m.replace(n.OpPos, n.OpPos+1, "")
		}
	case *ast.ReturnStmt:
		m.results(n)
	case *ast.BranchStmt:
		if n.Label == nil && n.Tok == token.CONTINUE {
			m.replace(n.Pos(), n.End(), "break")
		}
	}
	for _, s := range statements(n) {
		m.remove(s)
	}
	return true
}

// results adds, for each result of n that is the constant true or false, a mutant that inverts it.
func (m *mutator) results(n *ast.ReturnStmt) {
	for _, result := range n.Results {
		if name, ok := result.(*ast.Ident); ok && (name.Name == "true" || name.Name == "false") {
			m.replace(name.Pos(), name.End(), strconv.FormatBool(name.Name != "true"))
		}
	}
}

// remove adds the mutant that removes s, if s is a call, a receive operation, a defer statement or
// an assignment with the operator =.
func (m *mutator) remove(s ast.Stmt) {
	if assign, ok := s.(*ast.AssignStmt); ok && assign.Tok != token.ASSIGN {
		return
	}
	switch s.(type) {
	case *ast.ExprStmt, *ast.DeferStmt, *ast.AssignStmt:
		m.replace(s.Pos(), s.End(), "{}")
	}
}

// statements returns the statements in n if n is a block or a case of a switch or select statement,
// and nil otherwise.
func statements(n ast.Node) []ast.Stmt {
	switch n := n.(type) {
	case *ast.BlockStmt:
		return n.List
	case *ast.CaseClause:
		return n.Body
	case *ast.CommClause:
		return n.Body
	}
	return nil
}

// lineOf returns the lines of source that contain the bytes from start to end, with these bytes
// replaced by the parameter with. The result is one line with single spaces between words,
// truncated after 140 characters.
func lineOf(source string, start, end int, with string) string {
	first := strings.LastIndexByte(source[:start], '\n') + 1
	last := len(source)
	if i := strings.IndexByte(source[end:], '\n'); i >= 0 {
		last = end + i
	}
	line := strings.Join(strings.Fields(source[first:start]+with+source[end:last]), " ")
	if runes := []rune(line); len(runes) > 140 {
		return string(runes[:140]) + "..."
	}
	return line
}
