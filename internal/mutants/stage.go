package main

import (
	"regexp"
	"strings"
	"time"
)

// A stage is a subset of the tests of a package. It contains the flags that select the tests, the
// timeout of the tests, and the code that they cover.
type stage struct {
	args     []string
	timeout  time.Duration
	coverage profile
}

// slow is the minimum duration of a slow test. Slow tests are run only for the mutants that survive
// the other tests.
const slow = 200 * time.Millisecond

var passed = regexp.MustCompile(`(?m)^--- PASS: (\w+) \((\S+)\)$`)

// stagesOf divides the tests into stages, by their durations in the output of a verbose run. The
// first stage contains all quick tests, and each slow test has a separate stage. The stages have no
// timeout and no coverage.
func stagesOf(output string) []stage {
	var names []string
	for _, m := range passed.FindAllStringSubmatch(output, -1) {
		if took, err := time.ParseDuration(m[2]); err == nil && took >= slow {
			names = append(names, m[1])
		}
	}
	if names == nil {
		return []stage{{}}
	}
	stages := []stage{{args: []string{"-test.skip=^(" + strings.Join(names, "|") + ")$"}}}
	for _, name := range names {
		stages = append(stages, stage{args: []string{"-test.run=^" + name + "$"}})
	}
	return stages
}
