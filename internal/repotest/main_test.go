// Package repotest_test holds the rules of the repository: which package may import which,
// which modules each program links, and what documents and workflows must not say.
package repotest_test

import (
	"fmt"
	"os"
	"testing"
)

// All paths in these tests are relative to the root of the module.
func TestMain(m *testing.M) {
	if err := os.Chdir("../.."); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}
