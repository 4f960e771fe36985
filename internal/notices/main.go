// Command notices writes THIRD_PARTY_NOTICES.txt for a program: the licenses of the modules linked
// into it, of Go's standard library and runtime, and of third-party code within a module.
//
//	go run ./internal/notices ./cmd/authd
//
// It reads the source that is linked on each supported platform: the license and notice files in
// the directories of the linked packages and in the directories above them, up to the root of the
// module, and the comments of the linked files. It writes no file for the program and fails if a
// module has no license file, if a license is not recognized, if a license is neither allowed nor
// reviewed (allowed.go), or if a review applies to nothing. All modules must be in the module
// cache; no network is needed.
//
// The file contains no versions, so that it changes only when a notice changes. The versions in a
// binary are listed by "go version -m".
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

// fileName is the name of the file that is written to the directory of a program.
const fileName = "THIRD_PARTY_NOTICES.txt"

// tags contains the build tags of `make build`.
const tags = "grpcnotrace"

// platforms lists the platforms for which a program may be built. The notices are the union for all
// platforms: a superfluous notice is harmless, but a missing one violates a license.
var platforms = []platform{
	{"linux", "amd64"},
	{"linux", "arm64"},
	{"darwin", "amd64"},
	{"darwin", "arm64"},
	{"windows", "amd64"},
	{"windows", "arm64"},
}

type platform struct{ os, arch string }

func (p platform) String() string { return p.os + "/" + p.arch }

func main() {
	stdout := flag.Bool("stdout", false, "print the notices instead of writing the files")
	flag.Parse()
	if flag.NArg() == 0 {
		fmt.Fprintln(os.Stderr, "usage: go run ./internal/notices [-stdout] ./cmd/PROGRAM ...")
		os.Exit(2)
	}
	for _, program := range flag.Args() {
		if err := write(context.Background(), program, *stdout); err != nil {
			fmt.Fprintf(os.Stderr, "notices: %s: %v\n", program, err)
			os.Exit(1)
		}
	}
}

func write(ctx context.Context, program string, stdout bool) error {
	text, err := notices(ctx, program, platforms, reviewed)
	if err != nil {
		return err
	}
	if stdout {
		_, err = os.Stdout.WriteString(text)
		return err
	}
	return os.WriteFile(filepath.Join(program, fileName), []byte(text), 0o644) //nolint:gosec // G306: a public document
}

// notices returns the content of the notices file for a program on all of the platforms; program is
// the directory of the program. It returns an error if a component has no license file, if a
// license is neither allowed nor reviewed, or if a review applies to nothing.
func notices(ctx context.Context, program string, platforms []platform, reviews []review) (string, error) {
	components, err := linked(ctx, program, platforms)
	if err != nil {
		return "", err
	}
	for _, c := range components {
		if err := c.read(); err != nil {
			return "", fmt.Errorf("%s: %w", c.name, err)
		}
	}
	if err := check(components, reviews); err != nil {
		return "", err
	}
	return render(filepath.Base(program), platforms, components, reviews), nil
}
