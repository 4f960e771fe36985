package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// One mutant each that a test kills, that a slow test kills, that no test sees, that no test
// runs, that does not end, and that does not compile. The slow test runs only for the code
// that it runs.
func TestOutcomes(t *testing.T) {
	dir := t.TempDir()
	const source = `package p

func Max(a, b int) int {
	if a > b {
		return a
	}
	return b
}

func Count(n int) (c int) {
	for ; n > 0; n-- {
		c++
	}
	return c
}

func unused(a int) int { return a + 1 }

func Greet(name string) string { return "Hello, " + name }

func Later(a int) int { return a * 2 }
`
	const tests = `package p

import (
	"testing"
	"time"
)

func Test(t *testing.T) {
	if Max(1, 2) != 2 || Max(3, 2) != 3 || Count(3) != 3 || Greet("Ada") != "Hello, Ada" {
		t.Error("wrong")
	}
}

func TestSlow(t *testing.T) {
	time.Sleep(300 * time.Millisecond)
	if Later(2) != 4 || Later(4) != 8 {
		t.Error("wrong")
	}
}
`
	for name, text := range map[string]string{"go.mod": "module example.org/p\n\ngo 1.26\n", "p.go": source, "p_test.go": tests} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	packages, err := listPackages(t.Context(), []string{"."})
	if err != nil || len(packages) != 1 {
		t.Fatal(packages, err)
	}
	mutants, err := packages[0].mutants()
	if err != nil {
		t.Fatal(err)
	}
	b, err := newBench(t.Context(), packages[0])
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	if at := packages[0].ImportPath + "/p.go"; len(b.stages) != 2 || b.stages[1].coverage.covers(at, 4, 5) || !b.stages[1].coverage.covers(at, 21, 34) {
		t.Errorf("%+v", b.stages)
	}
	want := map[string]outcome{
		"func Later(a int) int { return a * 2 } => func Later(a int) int { return a / 2 }": killed,
		"if a > b { => if a <= b {": killed,
		"if a > b { => if a >= b {": survived,
		`func unused(a int) int { return a + 1 } => func unused(a int) int { return a - 1 }`:                                       survived,
		`func Greet(name string) string { return "Hello, " + name } => func Greet(name string) string { return "Hello, " - name }`: notViable,
		"for ; n > 0; n-- { => for ; n > 0; n++ {":                                                                                 timedOut,
	}
	for _, m := range mutants {
		expected, ok := want[m.from+" => "+m.to]
		if !ok {
			continue
		}
		delete(want, m.from+" => "+m.to)
		b.stages[0].timeout = time.Minute
		if expected == timedOut {
			b.stages[0].timeout = 100 * time.Millisecond
		}
		if got, err := b.test(t.Context(), m); err != nil || got != expected {
			t.Errorf("%v: outcome %d, %v; want %d", m, got, err, expected)
		}
	}
	if len(want) > 0 {
		t.Errorf("no such mutants: %v", want)
	}
	if after, err := os.ReadFile("p.go"); err != nil || string(after) != source {
		t.Errorf("the source has changed: %v", err)
	}
}
