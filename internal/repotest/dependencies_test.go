package repotest_test

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// bounds maps programs to the maximum number of modules that each may link. The README states the
// actual numbers.
var bounds = map[string]int{"examples/greeter": 4, "examples/twofold": 10, "examples/hello": 25}

// TestFewDependencies tests that each program in bounds links at most the given number of modules,
// no modules of NATS or AMQP, and no modules of gRPC except in examples/twofold.
func TestFewDependencies(t *testing.T) {
	t.Parallel()
	for program, maximum := range bounds {
		modules := strings.Split(linkedModules(t, program), "\n")[2:]
		if n := len(modules) - 1; n > maximum || n == 0 {
			t.Errorf("%s links %d modules, want at most %d:\n%s", program, n, maximum, strings.Join(modules, "\n"))
		}
		for _, m := range modules {
			if strings.Contains(m, "nats") || strings.Contains(m, "amqp") || strings.Contains(m, "grpc ") && program != "examples/twofold" {
				t.Errorf("%s links %s", program, m)
			}
		}
	}
}

// TestOnlyProgramsThatServeThePageLinkIt tests that the page at /docs, which adds 1.3 MB to a
// program, is linked only into programs that import its package.
func TestOnlyProgramsThatServeThePageLinkIt(t *testing.T) {
	t.Parallel()
	const page = module + "/schema/apidocs"
	served := 0
	for _, program := range listPrograms(t) {
		imports := strings.Fields(strings.Join(goList(t, "-f", `{{join .Imports " "}}`, "./"+program), " "))
		serves := slices.Contains(imports, page)
		if linked := slices.Contains(goList(t, "-deps", "./"+program), page); linked != serves {
			t.Errorf("%s imports %s: %v, links it: %v", program, page, serves, linked)
		}
		if serves {
			served++
		}
	}
	if served == 0 {
		t.Error("no program serves the page: the test looks for another package")
	}
}

// TestDiscoveryLinksNoModule tests that the packages of service discovery link no third-party
// modules: they do not use the client libraries of the registries (docs/decisions/0012).
func TestDiscoveryLinksNoModule(t *testing.T) {
	t.Parallel()
	packages := goList(t, "./discovery/...")
	if len(packages) < 4 {
		t.Fatalf("found %q only", packages)
	}
	for _, pkg := range packages {
		if modules := strings.Split(strings.TrimSpace(linkedModules(t, strings.TrimPrefix(pkg, module+"/"))), "\n")[2:]; len(modules) > 0 {
			t.Errorf("%s links %s", pkg, strings.Join(modules, ", "))
		}
	}
}

// TestDependencies tests that linked.txt in the directory of each program lists the modules that
// are linked into the program, with the number of their packages. A new dependency is therefore
// visible as a diff in a review. CHASSI_UPDATE=1 rewrites the lists.
func TestDependencies(t *testing.T) {
	t.Parallel()
	programs := listPrograms(t)
	if len(programs) == 0 {
		t.Fatal("no program found under cmd/ and examples/: the test looks in the wrong place")
	}
	for _, program := range programs {
		t.Run(program, func(t *testing.T) {
			t.Parallel()
			compareLinked(t, program, linkedModules(t, program))
		})
	}
}

func compareLinked(t *testing.T, program, got string) {
	t.Helper()
	const mend = "if the change is intended, update the list:\n\n\tCHASSI_UPDATE=1 go test -run TestDependencies ./internal/repotest\n"
	file := filepath.Join(program, "linked.txt")
	if os.Getenv("CHASSI_UPDATE") == "1" {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%s has no list of linked modules (%v); %s", program, err, mend)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s links other modules than %s says; %s\n(-%s +linked)\n%s", program, file, mend, file, diff)
	}
}

// listPrograms returns the directories of the main packages under cmd/ and examples/.
func listPrograms(t *testing.T) []string {
	t.Helper()
	var programs []string
	for _, dir := range []string{"cmd", "examples"} {
		if _, err := os.Stat(dir); err != nil {
			continue
		}
		for _, line := range goList(t, "-e", "-f", "{{.Name}} {{.ImportPath}}", "./"+dir+"/...") {
			if name, importPath, _ := strings.Cut(line, " "); name == "main" {
				programs = append(programs, cleanName(importPath))
			}
		}
	}
	return programs
}

// linkedModules returns the list of the modules that are linked into a program: two lines of
// comments, then a line for each module with the number of its linked packages.
func linkedModules(t *testing.T, program string) string {
	t.Helper()
	packages := make(map[string]int)
	for _, path := range goList(t, "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", "./"+program) {
		if path != "" && path != module {
			packages[path]++
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# Modules linked into %s (linux/amd64), with the number of their packages.\n", program)
	fmt.Fprintf(&b, "# %d in all. Written by: CHASSI_UPDATE=1 go test -run TestDependencies ./internal/repotest\n", len(packages))
	for _, path := range slices.Sorted(maps.Keys(packages)) {
		fmt.Fprintf(&b, "%s %d\n", path, packages[path])
	}
	return b.String()
}

// goList runs "go list" with the build tags of `make build`, for linux/amd64 and without cgo on any
// machine, and returns the lines of its output.
func goList(t *testing.T, args ...string) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list", "-tags", "grpcnotrace"}, args...)...)
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v", cmd, err)
	}
	return strings.Split(strings.TrimRight(string(out), "\n"), "\n")
}
