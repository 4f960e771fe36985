package main

import (
	"regexp"
	"strings"
	"time"
)

// A stage is a part of the tests of a package: the flags that select it, its timeout, and the code
// that it covers.
type stage struct {
	args     []string
	timeout  time.Duration
	coverage profile
}

// slow is the minimum duration of a slow test. Slow tests are run only for the mutants that survive
// the others.
const slow = 200 * time.Millisecond

var passed = regexp.MustCompile(`(?m)^--- PASS: (\w+) \((\S+)\)$`)

// stagesOf divides the tests according to the output of a verbose run: the first stage has all
// quick tests, and each slow test has a stage of its own.
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
