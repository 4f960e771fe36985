package main

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMutate(t *testing.T) {
	t.Parallel()
	const source = `package p

var size = 4 * 2

func f(a, b int, ok bool) bool {
	defer done()
	if a < b && !ok {
		a++
		log(
			a)
		b = 1
		return true
	}
	for range a {
		continue
	}
	a -= b
	c := -a
	return c == b
}
`
	got, err := mutate("p/p.go", source)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range got {
		names = append(names, m.String())
	}
	want := []string{
		"p/p.go: : var size = 4 * 2 => var size = 4 / 2",
		"p/p.go: f: defer done() => {}",
		"p/p.go: f: a -= b => a += b",
		"p/p.go: f: if a < b && !ok { => if (a < b && !ok) && false {",
		"p/p.go: f: if a < b && !ok { => if a < b || !ok {",
		"p/p.go: f: if a < b && !ok { => if a >= b && !ok {",
		"p/p.go: f: if a < b && !ok { => if a <= b && !ok {",
		"p/p.go: f: if a < b && !ok { => if a < b && ok {",
		"p/p.go: f: log( a) => {}",
		"p/p.go: f: b = 1 => {}",
		"p/p.go: f: a++ => a--",
		"p/p.go: f: return true => return false",
		"p/p.go: f: continue => break",
		"p/p.go: f: return c == b => return c != b",
	}
	slices.Sort(names)
	slices.Sort(want)
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
}

func TestCovers(t *testing.T) {
	t.Parallel()
	p, err := parseProfile("mode: set\nx/p.go:3.10,5.2 1 1\nx/p.go:4.5,4.20 1 0\nx/p.go:7.1,9.2 2 0\n")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		line, col int
		want      bool
	}{{3, 10, true}, {4, 6, true}, {8, 1, false}, {7, 1, false}, {9, 2, false}, {9, 3, true}, {1, 1, true}} {
		if got := p.covers("x/p.go", c.line, c.col); got != c.want {
			t.Errorf("%d.%d: %v", c.line, c.col, got)
		}
	}
	if _, err := parseProfile("x/p.go:nonsense\n"); err == nil {
		t.Error("nonsense is read as a profile")
	}
}

func TestAcceptedHaveReasons(t *testing.T) {
	t.Parallel()
	got, err := parseAccepted("# comment\n\na => b\n\tit is\n\tequal\nc => d\n\tslower\n")
	if err != nil || got["a => b"] != "it is equal" || got["c => d"] != "slower" || len(got) != 2 {
		t.Errorf("%v, %v", got, err)
	}
	for _, text := range []string{"a => b\n", "a => b\nc => d\n\tslower\n"} {
		if _, err := parseAccepted(text); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
	if _, err := parseAccepted(survivors); err != nil {
		t.Error(err)
	}
}
