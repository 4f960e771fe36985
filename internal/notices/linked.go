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
)

// standardLibrary is the name of the component for Go's standard library.
const standardLibrary = "Go standard library and runtime"

// component is a part of the program with separate license files: a module, Go's standard library,
// or a directory of embedded third-party files.
type component struct {
	name    string
	root    string              // root directory
	main    bool                // whether the component is the module of the program
	folders map[string]struct{} // directories of the linked packages and embedded files
	sources map[string]struct{} // paths of the linked Go, assembly and header files

	texts   []text            // licenses and notices, sorted by file
	holders map[string]string // copyright lines in sources, by the normalized name of the holder
}

// listed is a package in the output of "go list -json", with the fields that the command uses.
type listed struct {
	Dir      string
	Standard bool
	Module   *module

	GoFiles, SFiles, HFiles, SysoFiles, EmbedFiles []string
}

type module struct {
	Path, Dir string
	Main      bool
	Replace   *module
}

// linked returns the components that are linked into a program on any of the platforms, sorted by
// name.
func linked(ctx context.Context, program string, platforms []platform) ([]*component, error) {
	byName := make(map[string]*component)
	for _, p := range platforms {
		packages, err := goList(ctx, program, p)
		if err != nil {
			return nil, err
		}
		for _, pkg := range packages {
			if err := add(byName, pkg); err != nil {
				return nil, err
			}
		}
	}
	components := make([]*component, 0, len(byName))
	for _, c := range byName {
		components = append(components, c)
	}
	slices.SortFunc(components, func(a, b *component) int { return strings.Compare(a.name, b.name) })
	return components, nil
}

func goList(ctx context.Context, program string, p platform) ([]listed, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-deps", "-tags", tags,
		"-json=Dir,Standard,Module,GoFiles,SFiles,HFiles,SysoFiles,EmbedFiles", ".")
	cmd.Dir = program
	cmd.Env = append(os.Environ(), "GOOS="+p.os, "GOARCH="+p.arch, "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=-mod=readonly")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%v for %v: %w\n%s", cmd, p, err, stderr.String())
	}
	var packages []listed
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var pkg listed
		if err := decoder.Decode(&pkg); errors.Is(err, io.EOF) { //nolint:musttag // the fields have the names that the Go command gives them
			return packages, nil
		} else if err != nil {
			return nil, fmt.Errorf("decode the output of %v: %w", cmd, err)
		}
		packages = append(packages, pkg)
	}
}

// add adds a package to its component in byName, and creates the component if necessary. It returns
// the error of owner, or an error if the package contains object files, whose license cannot be
// read.
func add(byName map[string]*component, pkg listed) error {
	name, root, err := owner(pkg)
	if err != nil {
		return err
	}
	c := byName[name]
	if c == nil {
		c = &component{
			name: name, root: root, main: pkg.Module != nil && pkg.Module.Main,
			folders: make(map[string]struct{}), sources: make(map[string]struct{}),
		}
		byName[name] = c
	}
	if len(pkg.SysoFiles) > 0 {
		return fmt.Errorf("%s: links the object files %q, whose license cannot be read", pkg.Dir, pkg.SysoFiles)
	}
	c.folders[pkg.Dir] = struct{}{}
	for _, file := range slices.Concat(pkg.GoFiles, pkg.SFiles, pkg.HFiles) {
		c.sources[filepath.Join(pkg.Dir, file)] = struct{}{}
	}
	// An embedded file may have its license beside it.
	for _, file := range pkg.EmbedFiles {
		folder := filepath.Dir(filepath.Join(pkg.Dir, file))
		if c.main && folder != pkg.Dir && hasLicense(folder) {
			addEmbedded(byName, c, folder)
			continue
		}
		c.folders[folder] = struct{}{}
	}
	return nil
}

// addEmbedded adds a component for folder, a directory in the program's module that contains
// embedded third-party files and their license.
func addEmbedded(byName map[string]*component, of *component, folder string) {
	name := of.name + "/" + of.relative(folder)
	byName[name] = &component{name: name, root: folder, folders: map[string]struct{}{folder: {}}}
}

func hasLicense(folder string) bool {
	entries, _ := os.ReadDir(folder) // go list has just found files in it
	return slices.ContainsFunc(entries, func(e os.DirEntry) bool {
		return licenseName.MatchString(e.Name()) && !codeName.MatchString(e.Name())
	})
}

// owner returns the name and the root directory of the component of a package. It returns an error
// if the package belongs to no module, or if its module has not been downloaded.
func owner(pkg listed) (name, root string, err error) {
	switch {
	case pkg.Standard:
		root = pkg.Dir
		for filepath.Base(root) != "src" {
			if root = filepath.Dir(root); root == filepath.Dir(root) {
				return "", "", fmt.Errorf("%s is not below a directory named src", pkg.Dir)
			}
		}
		return standardLibrary, filepath.Dir(root), nil
	case pkg.Module == nil:
		return "", "", fmt.Errorf("%s belongs to no module", pkg.Dir)
	case pkg.Module.Replace != nil:
		return pkg.Module.Path, pkg.Module.Replace.Dir, nil
	case pkg.Module.Dir == "":
		return "", "", fmt.Errorf("module %s has no directory; run go mod download", pkg.Module.Path)
	default:
		return pkg.Module.Path, pkg.Module.Dir, nil
	}
}
