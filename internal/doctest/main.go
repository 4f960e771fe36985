// Command doctest runs the commands in the documentation and compares their output with the
// documented output:
//
//	go run ./internal/doctest README.md docs/*.md docs/guide/*.md
//
// It reads the ```console fences of each page. A line that begins with "$ " is a command, and the
// lines under it are its output. In the output, "..." matches any text in a line or, on a line of
// its own, any number of lines. A command without documented output may print anything. A command
// continues on the next line after a backslash, and on lines that begin with "> " (a
// here-document).
//
//	$ curl -s localhost:8080/v1/auth -d '{"email":"ada@example.org","password":"..."}'
//	{"token":"..."}
//
// The commands of one page share a shell. They run in a copy of the repository, with its directory
// bin first in PATH. Each command must succeed or be followed by "$ echo $?". A command that serves
// ("make run", "authd serve") runs in the background, and the next command begins when the server
// is ready. The server is stopped before the next command that serves and at the end of the page.
// Other programs are started with "&" and are killed at the end of the page.
//
// A fence under a line <!-- no-test: reason --> is not run. A fence of sh, bash or shell is an
// error without such a line, so that no command remains untested by mistake.
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// readyURL is the URL at which a server with its default addresses responds with 200 when it is
// ready.
const readyURL = "http://127.0.0.1:8081/readyz"

func main() {
	failed := false
	for _, page := range os.Args[1:] {
		if err := testPage(page); err != nil {
			fmt.Fprintf(os.Stderr, "doctest: %v\n", err)
			failed = true
		}
	}
	if failed {
		os.Exit(1)
	}
}

// testPage runs the commands of one page in a fresh copy of the working directory, as copyTree
// makes it. It does nothing if the page has no commands.
func testPage(page string) error {
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	steps, err := parse(page, string(text))
	if err != nil || len(steps) == 0 {
		return err
	}
	dir, err := os.MkdirTemp("", "doctest-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := copyTree(dir, "."); err != nil {
		return err
	}
	return run(steps, dir, readyURL, os.Stdout)
}

// copyTree copies the regular files below the directory from, which must be ".", to the directory
// to. It omits databases and the directories .git, nats-clients and bin/tools.
func copyTree(to, from string) error {
	return filepath.WalkDir(from, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		switch {
		case entry.IsDir() && (path == ".git" || path == "nats-clients" || path == filepath.Join("bin", "tools")):
			return filepath.SkipDir
		case entry.IsDir():
			return os.MkdirAll(filepath.Join(to, path), 0o700)
		case entry.Type().IsRegular() && !isDatabase(path):
			return copyFile(filepath.Join(to, path), path)
		}
		return nil
	})
}

// isDatabase reports whether path has the name of a database of a server (*.db*). Databases are not
// copied, so that each page starts without data.
func isDatabase(path string) bool {
	match, _ := filepath.Match("*.db*", filepath.Base(path))
	return match
}

func copyFile(to, from string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, content, info.Mode().Perm())
}
