package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestStages(t *testing.T) {
	t.Parallel()
	const output = `=== RUN   TestQuick
--- PASS: TestQuick (0.03s)
=== RUN   TestSlow
--- PASS: TestSlow (2.10s)
    --- PASS: TestSlow/part (2.10s)
--- SKIP: TestSkipped (3.00s)
=== RUN   TestSlowToo
--- PASS: TestSlowToo (0.20s)
PASS
`
	var got [][]string
	for _, s := range stagesOf(output) {
		got = append(got, s.args)
	}
	want := [][]string{{"-test.skip=^(TestSlow|TestSlowToo)$"}, {"-test.run=^TestSlow$"}, {"-test.run=^TestSlowToo$"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if all := stagesOf("--- PASS: TestQuick (0.03s)\n"); len(all) != 1 || all[0].args != nil {
		t.Errorf("without slow tests: %v", all)
	}
}
