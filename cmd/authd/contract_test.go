package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chassi-go/chassi/internal/contract"
)

// published are the committed contracts.
var published = map[string]string{
	"openapi": "openapi.json", "asyncapi": "asyncapi.json", "proto": "auth/v1/auth.proto",
}

// The committed copies match the code. CHASSI_UPDATE=1 rewrites them.
func TestPublishedContracts(t *testing.T) {
	t.Parallel()
	for name, file := range published {
		got, err := document(name)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("..", "..", "api", file)
		if os.Getenv("CHASSI_UPDATE") == "1" {
			if err := os.WriteFile(path, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("api/%s is not what the code says (%v); if the change is meant: CHASSI_UPDATE=1 go test -run TestPublishedContracts ./cmd/authd", file, err)
		}
	}
}

// No version of a contract that was ever committed is broken by the one of today,
// but for what api/breaking.txt declares.
func TestContractsAreCompatible(t *testing.T) {
	t.Parallel()
	declared, err := os.ReadFile("../../api/breaking.txt")
	if err != nil {
		t.Fatal(err)
	}
	for name, compare := range map[string]func(older, newer []byte) ([]string, error){
		"openapi":  contract.OpenAPI,
		"asyncapi": contract.AsyncAPI,
		"proto":    func(older, newer []byte) ([]string, error) { return contract.Proto(older, newer), nil },
	} {
		now, err := document(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, older := range history(t, "api/"+published[name]) {
			broken, err := compare(older, now)
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range broken {
				if !slices.Contains(strings.Split(string(declared), "\n"), b) {
					t.Errorf("%s breaks those who rely on an earlier version: %s\nmend it, or declare it by that line in api/breaking.txt and in the changelog", name, b)
				}
			}
		}
	}
}

// history returns the earlier versions of a file that git knows, the committed one
// first; only that one where there is no git.
func history(t *testing.T, path string) [][]byte {
	t.Helper()
	git := func(args ...string) []byte {
		cmd := exec.CommandContext(t.Context(), "git", args...)
		cmd.Dir = "../.."
		out, err := cmd.Output()
		if err != nil {
			return nil
		}
		return out
	}
	var versions [][]byte
	for commit := range strings.FieldsSeq(string(git("log", "--max-count=50", "--format=%H", "--", path))) {
		if b := git("show", commit+":"+path); b != nil {
			versions = append(versions, b)
		}
	}
	if versions == nil {
		b, err := os.ReadFile(filepath.Join("..", "..", path))
		if err != nil {
			t.Fatal(err)
		}
		versions = append(versions, b)
	}
	return versions
}
