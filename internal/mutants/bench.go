package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A goPackage describes a package, in the format of "go list -json".
//
//nolint:tagliatelle // the names are those of the go command
type goPackage struct {
	ImportPath   string   `json:"ImportPath"`
	Dir          string   `json:"Dir"`
	GoFiles      []string `json:"GoFiles"`
	TestImports  []string `json:"TestImports"`
	XTestImports []string `json:"XTestImports"`
	Module       struct {
		Dir string `json:"Dir"`
	} `json:"Module"`
}

func listPackages(ctx context.Context, patterns []string) ([]goPackage, error) {
	out, err := goCommand(ctx, slices.Concat([]string{"list", "-json=ImportPath,Dir,GoFiles,TestImports,XTestImports,Module"}, patterns)...)
	if err != nil {
		return nil, err
	}
	var packages []goPackage
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return packages, nil
		} else if err != nil {
			return nil, err
		}
		packages = append(packages, p)
	}
}

// goCommand runs the go command and returns its standard output. If the command fails, the error
// contains the standard error output.
func goCommand(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...) //nolint:gosec // arguments of the developer
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go %s: %w\n%s", args[0], err, stderr.String())
	}
	return out, nil
}

// mutants returns the mutants of all Go files of the package except test files.
func (p goPackage) mutants() ([]mutant, error) {
	var all []mutant
	for _, name := range p.GoFiles {
		path := filepath.Join(p.Dir, name)
		source, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		rel, err := filepath.Rel(p.Module.Dir, path)
		if err != nil {
			return nil, err
		}
		found, err := mutate(filepath.ToSlash(rel), string(source))
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

type outcome int

const (
	killed outcome = iota
	timedOut
	survived
	notViable
)

// A bench builds and runs the tests of one package with one mutant at a time. It does not modify
// the source: "go test -overlay" reads the changed file instead.
type bench struct {
	goPackage
	dir    string // directory of the temporary files
	stages []stage
}

// newBench returns a bench for p. It runs the tests without a mutant to measure their duration and
// coverage, and returns an error if they fail. The caller must close the bench.
func newBench(ctx context.Context, p goPackage) (*bench, error) {
	dir, err := os.MkdirTemp("", "mutants-")
	if err != nil {
		return nil, err
	}
	b := &bench{goPackage: p, dir: dir}
	if err := b.baseline(ctx); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

func (b *bench) close() { _ = os.RemoveAll(b.dir) }

func (b *bench) baseline(ctx context.Context) error {
	if err := b.build(ctx, "-cover"); err != nil {
		return err
	}
	all := stage{args: []string{"-test.v"}, timeout: 5 * time.Minute}
	out, err := b.runTests(ctx, all)
	if err != nil {
		return fmt.Errorf("the tests fail on the unchanged code: %w\n%s", err, out)
	}
	file := filepath.Join(b.dir, "coverage.out")
	for _, s := range stagesOf(string(out)) {
		start := time.Now()
		s.timeout = all.timeout
		if out, err := b.runTests(ctx, s, "-test.coverprofile="+file); err != nil {
			return fmt.Errorf("the tests selected by %v fail when run separately: %w\n%s", s.args, err, out)
		}
		// On a busy machine a run may take several times as long as the one before.
		s.timeout = 10*time.Second + 4*time.Since(start)
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if s.coverage, err = parseProfile(string(text)); err != nil {
			return err
		}
		b.stages = append(b.stages, s)
	}
	return nil
}

// test builds the package with the mutant m, runs the tests that cover the changed code, and
// returns the outcome.
func (b *bench) test(ctx context.Context, m mutant) (outcome, error) {
	path := filepath.Join(b.Dir, filepath.Base(m.name))
	source, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	changed := filepath.Join(b.dir, "mutant.go")
	text := slices.Concat(source[:m.start], []byte(m.with), source[m.end:])
	if err := os.WriteFile(changed, text, 0o600); err != nil {
		return 0, err
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {path: changed}})
	if err != nil {
		return 0, err
	}
	file := filepath.Join(b.dir, "overlay.json")
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		return 0, err
	}
	if err := b.build(ctx, "-overlay", file); err != nil {
		return notViable, ctx.Err()
	}
	return b.runStages(ctx, m)
}

// runStages runs the stages that cover the code of the mutant until one fails, and returns the
// outcome. It returns an error only if ctx is done.
func (b *bench) runStages(ctx context.Context, m mutant) (outcome, error) {
	for _, s := range b.stages {
		if !s.coverage.covers(b.ImportPath+"/"+filepath.Base(m.name), m.line, m.col) {
			continue
		}
		_, err := b.runTests(ctx, s)
		switch {
		case ctx.Err() != nil:
			return 0, ctx.Err()
		case errors.Is(err, context.DeadlineExceeded):
			return timedOut, nil
		case err != nil:
			return killed, nil //nolint:nilerr // the failure of a test is the outcome
		}
	}
	return survived, nil
}

func (b *bench) build(ctx context.Context, args ...string) error {
	// Without debug information, linking takes half the time.
	args = slices.Concat([]string{"test", "-c", "-o", filepath.Join(b.dir, "tests"), "-ldflags=-s -w"}, args, []string{b.ImportPath})
	_, err := goCommand(ctx, args...)
	return err
}

// runTests runs the tests of a stage, with args as additional flags, and returns their output. The
// error is context.DeadlineExceeded if the tests exceed the timeout of the stage.
func (b *bench) runTests(ctx context.Context, s stage, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	// A mutant may allocate without end: 8 GiB of address space are enough for all tests.
	args = slices.Concat([]string{"-c", `ulimit -v 8388608; exec "$0" "$@"`, filepath.Join(b.dir, "tests"), "-test.failfast"}, s.args, args)
	if slices.Contains(slices.Concat(b.TestImports, b.XTestImports), "pgregory.net/rapid") {
		// A failure is enough: no smaller one, and no file of it in the source.
		args = append(args, "-rapid.shrinktime=0s", "-rapid.nofailfile")
	}
	cmd := exec.CommandContext(ctx, "sh", args...) //nolint:gosec // the tests built above
	cmd.Dir = b.Dir
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	return out, err
}
