package repotest_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

var (
	pinnedAction  = regexp.MustCompile(`^[\w.-]+/[\w./-]+@[0-9a-f]{40}$`)
	pinnedImage   = regexp.MustCompile(`^docker://[^@]+@sha256:[0-9a-f]{64}$`)
	actionVersion = regexp.MustCompile(`^# v\d+\.\d+\.\d+$`)
)

// TestActionsArePinnedToCommits tests that workflows pin actions to commits and images to digests.
// Anyone who can move the tag of an action can run code in the builds, but a commit cannot be
// moved. A comment must state the version of each commit, for people and for tools that update it
// (R85).
func TestActionsArePinnedToCommits(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(".github/workflows/*.y*ml")
	if err != nil {
		t.Fatal(err)
	}
	composite, err := filepath.Glob(".github/actions/*/action.y*ml")
	if err != nil {
		t.Fatal(err)
	}
	used := 0
	for _, file := range append(files, composite...) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		n, problems := inspectActions(text)
		used += n
		for _, problem := range problems {
			t.Errorf("%s: %s", file, problem)
		}
	}
	if used == 0 {
		t.Error("found no action: the test looks in the wrong place")
	}
}

// inspectActions returns the number of actions that a workflow uses, and a message for each problem
// that it finds.
func inspectActions(text []byte) (used int, problems []string) {
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		return 0, []string{err.Error()}
	}
	versions := make(map[string]string) // an action's commit to its version
	var visit func(n *yaml.Node)
	visit = func(n *yaml.Node) {
		if n.Kind == yaml.AliasNode {
			n = n.Alias
		}
		for i, child := range n.Content {
			if n.Kind == yaml.MappingNode && i%2 == 1 && n.Content[i-1].Value == "uses" {
				used++
				if problem := inspectAction(child, versions); problem != "" {
					problems = append(problems, fmt.Sprintf("line %d: uses: %s: %s", child.Line, child.Value, problem))
				}
				continue
			}
			visit(child)
		}
	}
	visit(&document)
	return used, problems
}

func inspectAction(n *yaml.Node, versions map[string]string) string {
	switch {
	case strings.HasPrefix(n.Value, "./"): // of this commit
		return ""
	case pinnedImage.MatchString(n.Value):
		return ""
	case !pinnedAction.MatchString(n.Value):
		return "pin it to a commit of 40 hexadecimal digits, or an image to its digest"
	case !actionVersion.MatchString(n.LineComment):
		return fmt.Sprintf("say in a comment which version the commit is, as in \"# v1.2.3\", not %q", n.LineComment)
	case versions[n.Value] != "" && versions[n.Value] != n.LineComment:
		return fmt.Sprintf("the same commit is %q elsewhere", versions[n.Value])
	}
	versions[n.Value] = n.LineComment
	return ""
}

func TestInspectorFindsUnpinnedActions(t *testing.T) {
	t.Parallel()
	commit := strings.Repeat("0a1b2c3d", 5)
	cases := map[string]string{ // "" for pinned
		"steps: [{uses: ./.github/actions/x}]":                                                 "",
		"steps:\n  - uses: actions/checkout@" + commit + " # v1.2.3":                           "",
		"steps:\n  - uses: owner/repo/sub/folder@" + commit + " # v1.2.3":                      "",
		"steps:\n  - uses: docker://alpine@sha256:" + strings.Repeat("0a", 32):                 "",
		"steps:\n  - uses: actions/checkout@v4":                                                "pin it",
		"steps:\n  - uses: actions/checkout@main # v1.2.3":                                     "pin it",
		"steps:\n  - uses: actions/checkout@" + commit[:39] + " # v1.2.3":                      "pin it",
		"steps:\n  - uses: actions/checkout":                                                   "pin it",
		"steps:\n  - uses: docker://alpine:3.22":                                               "pin it",
		"steps:\n  - {name: flow, uses: actions/checkout@v4}":                                  "pin it",
		"steps:\n  - \"uses\": actions/checkout@v4":                                            "pin it",
		"jobs:\n  call:\n    uses: owner/repo/.github/workflows/x.yml@main":                    "pin it",
		"steps:\n  - uses: actions/checkout@" + commit:                                         "which version",
		"steps:\n  - uses: actions/checkout@" + commit + " # v4":                               "which version",
		"steps:\n  - uses: a/b@" + commit + " # v1.2.3\n  - uses: a/b@" + commit + " # v1.2.4": "elsewhere",
		"steps: [": "did not find",
	}
	for text, want := range cases {
		_, problems := inspectActions([]byte(text))
		if got := strings.Join(problems, "\n"); (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%s\nfound %q, want %q", text, got, want)
		}
	}
}

// TestContractLintersAreLocked tests that the lock file of the contract linters, which depend on
// about 260 packages, contains the version and the hash of each package and names no registry.
// Users configure the registry themselves.
func TestContractLintersAreLocked(t *testing.T) {
	t.Parallel()
	const file = "scripts/contracts/package-lock.json"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var lock struct {
		Packages map[string]struct{ Version, Resolved, Integrity string }
	}
	if err := json.Unmarshal(text, &lock); err != nil {
		t.Fatal(err)
	}
	if len(lock.Packages) < 3 {
		t.Errorf("%s has %d packages", file, len(lock.Packages))
	}
	for name, p := range lock.Packages {
		switch {
		case name == "": // the list itself
		case p.Resolved != "":
			t.Errorf("%s: %s names %s; write it by scripts/contracts.sh --lock", file, name, p.Resolved)
		case p.Version == "" || !strings.HasPrefix(p.Integrity, "sha512-"):
			t.Errorf("%s: %s has version %q and hash %q", file, name, p.Version, p.Integrity)
		}
	}
}
