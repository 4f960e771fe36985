package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	t.Parallel()
	const page = "# Title\n" +
		"```console\n$ one\nout 1\n\nout 2\n$ two \\\n    --more\nout\n```\n" +
		"```json\n$ not a command\n```\n" +
		"<!-- no-test: needs a cluster -->\n\n```sh\nrm -rf /\n```\n" +
		"````console\n$ cat <<EOF\n> ```\n> EOF\n> quoted output\n```\n````\n" +
		"1. A list:\n   ```console\n   $ echo\n   ```\n"
	got, err := parse("p.md", page)
	if err != nil {
		t.Fatal(err)
	}
	want := []step{
		{page: "p.md", line: 3, command: "one", output: []string{"out 1", "", "out 2"}},
		{page: "p.md", line: 7, command: "two \\\n    --more", output: []string{"out"}},
		{page: "p.md", line: 20, command: "cat <<EOF\n```\nEOF\nquoted output", output: []string{"```"}},
		{page: "p.md", line: 28, command: "echo"},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(step{})); diff != "" {
		t.Error(diff)
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for name, page := range map[string]string{
		"untested commands":    "```sh\nls\n```\n",
		"a reasonless skip":    "<!-- no-test: -->\n```bash\nls\n```\n",
		"a skip further above": "<!-- no-test: why -->\ntext\n```bash\nls\n```\n",
		"output first":         "```console\nls\n```\n",
		"an open fence":        "```console\n$ ls\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if steps, err := parse("p.md", page); err == nil {
				t.Errorf("accepted as %v", steps)
			}
		})
	}
}
