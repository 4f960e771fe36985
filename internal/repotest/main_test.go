// Package repotest_test tests the rules of the repository: which packages may import which others,
// which modules each program links, how source files are laid out, and what documents and workflows
// contain.
package repotest_test

import (
	"fmt"
	"os"
	"testing"
)

// TestMain changes to the root directory of the module, to which all paths in these tests are
// relative.
func TestMain(m *testing.M) {
	if err := os.Chdir("../.."); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}
