package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

const report = `<?xml version="1.0" encoding="UTF-8"?>
<testsuites>
  <testsuite name="4.2. Frame Size" package="http2/4.2" id="4.2" tests="3" skipped="1" failures="1" errors="1">
    <testcase package="http2/4.2" classname="Passes" time="0.1"></testcase>
    <testcase package="http2/4.2" classname="Fails" time="0.1"><failure>Expected
      GOAWAY</failure></testcase>
    <testcase package="http2/6.5" classname="Breaks" time="0.1"><error>reset</error></testcase>
  </testsuite>
</testsuites>`

// What only ours fails is found, and what both fail is not.
func TestComparison(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "report.xml")
	if err := os.WriteFile(file, []byte(report), 0o600); err != nil {
		t.Fatal(err)
	}
	ours, err := readReport(file)
	if err != nil || len(ours) != 3 || failed(ours) != 2 || ours["http2/4.2 Fails"] != "Expected GOAWAY" || ours["http2/6.5 Breaks"] != "reset" {
		t.Fatalf("%q, %v", ours, err)
	}
	plain := map[string]string{"http2/4.2 Passes": "", "http2/4.2 Fails": "", "http2/6.5 Breaks": "reset"}
	worse := compare(ours, plain)
	if len(worse) != 1 || worse["http2/4.2 Fails"] == "" || !slices.Equal(sections(worse), []string{"http2/4.2"}) {
		t.Errorf("worse: %q, sections %q", worse, sections(worse))
	}
	if worse := compare(plain, ours); len(worse) != 0 {
		t.Errorf("better, and counted as worse: %q", worse)
	}
	if _, err := readReport(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("no report was taken for one")
	}
}
