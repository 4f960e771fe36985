// Command notices writes THIRD_PARTY_NOTICES.txt for a program: the license of every module
// linked into it, of Go's standard library and runtime, and of third-party code within a
// module.
//
//	go run ./internal/notices ./cmd/authd
//
// It reads the source that is linked on each platform of the list below: license and notice files
// in the folders of the linked packages and above them, and the comments of the linked files. It
// fails, and writes nothing, when a module has no license text, when a text is not recognized, and
// when a license is neither allowed nor reviewed (allowed.go). It needs the modules in the module
// cache and no network.
//
// The file names no version, so that it changes only when a notice does:
// "go version -m" lists the versions in a binary.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

// fileName is the name of the file that is written next to a program.
const fileName = "THIRD_PARTY_NOTICES.txt"

// tags are the build tags of `make build`.
const tags = "grpcnotrace"

// platforms are the platforms that a program may be built for. The notices are the union for all of
// them: a superfluous notice is harmless, a missing one violates a license.
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

// notices returns the content of the file for the package in the directory program.
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
