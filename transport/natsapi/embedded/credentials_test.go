package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCredentials(t *testing.T) {
	t.Parallel()
	c := Credentials(filepath.Join(t.TempDir(), "new", "clients"))
	if list, err := c.List(); err != nil || len(list) != 0 {
		t.Errorf("no folder: %v, %v", list, err)
	}
	for _, name := range []string{"reports", "gateway"} {
		file, err := c.Add(name)
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v: want a file for its owner", info, err)
		}
	}
	if info, err := os.Stat(string(c)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v: want a folder for its owner", info, err)
	}
	list, err := c.List()
	if err != nil || len(list) != 2 || list[0].Name != "gateway" || list[1].Name != "reports" || list[0].PublicKey == list[1].PublicKey {
		t.Fatalf("%v, %v", list, err)
	}
	if public, err := publicOf(c.path("gateway", seedSuffix)); err != nil || public != list[0].PublicKey {
		t.Errorf("the seed's public key is %s, %v; want %s", public, err, list[0].PublicKey)
	}
	if _, err := c.Add("gateway"); !errors.Is(err, errClientExists) {
		t.Errorf("twice: %v", err)
	}
	if err := os.Remove(c.path("gateway", seedSuffix)); err != nil { // moved to the client's machine
		t.Fatal(err)
	}
	if err := c.Remove("gateway"); err != nil {
		t.Error(err)
	}
	if err := c.Remove("gateway"); !errors.Is(err, errUnknownClient) {
		t.Errorf("twice: %v", err)
	}
	if err := c.Remove("reports"); err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(string(c)); err != nil || len(entries) != 0 {
		t.Errorf("left: %v, %v", entries, err)
	}
}

// An Add that was interrupted between its two files is completed by the next one, with the
// key that is there.
func TestAddAfterAnInterruptedOne(t *testing.T) {
	t.Parallel()
	c := Credentials(t.TempDir())
	file, err := c.Add("gateway")
	if err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(c.path("gateway", publicSuffix)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Add("gateway"); err != nil {
		t.Fatal(err)
	}
	if after, err := os.ReadFile(file); err != nil || string(after) != string(before) {
		t.Errorf("another key, or %v", err)
	}
	if list, err := c.List(); err != nil || len(list) != 1 {
		t.Errorf("%v, %v", list, err)
	}
}

func TestNamesThatAreRefused(t *testing.T) {
	t.Parallel()
	c := Credentials(t.TempDir())
	for _, name := range []string{"", ".", "..", "a/b", "../a", "a.b", "A", "a b", "*", ">", "a\n", strings.Repeat("a", 65)} {
		if _, err := c.Add(name); err == nil || !strings.Contains(err.Error(), "client name") {
			t.Errorf("add %q: %v", name, err)
		}
		if err := c.Remove(name); err == nil || !strings.Contains(err.Error(), "client name") {
			t.Errorf("remove %q: %v", name, err)
		}
	}
}

// What others can write decides nothing, and what is no key is named.
func TestCredentialsThatAreRefused(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(c Credentials) error{
		"folder writable": func(c Credentials) error { return os.Chmod(string(c), 0o770) },
		"key writable":    func(c Credentials) error { return os.Chmod(c.path("gateway", publicSuffix), 0o666) },
		"no key":          func(c Credentials) error { return os.WriteFile(c.path("gateway", publicSuffix), []byte("key"), 0o600) },
		"a seed": func(c Credentials) error {
			return os.Rename(c.path("gateway", seedSuffix), c.path("gateway", publicSuffix))
		},
		"a large file": func(c Credentials) error {
			return os.WriteFile(c.path("gateway", publicSuffix), make([]byte, 1<<20), 0o600)
		},
		"a folder":            func(c Credentials) error { return os.Mkdir(c.path("folder", publicSuffix), 0o700) },
		"a name of its own":   func(c Credentials) error { return os.WriteFile(c.path("A B", publicSuffix), nil, 0o600) },
		"a link out of there": func(c Credentials) error { return os.Symlink("/dev/zero", c.path("link", publicSuffix)) },
	} {
		c := Credentials(t.TempDir())
		if _, err := c.Add("gateway"); err != nil {
			t.Fatal(err)
		}
		if err := spoil(c); err != nil {
			t.Fatal(err)
		}
		list, err := c.List()
		if err == nil || !strings.Contains(err.Error(), string(c)) || strings.Contains(err.Error(), "SU") {
			t.Errorf("%s: %v, %v", name, list, err)
		}
	}
	c := Credentials(t.TempDir())
	file, err := c.Add("gateway")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, 0o640); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(c.exposed()); got != "["+file+"]" {
		t.Errorf("exposed: %s, want %s", got, file)
	}
}

// A key's file is never taken for a new one, nor seen half written.
func TestCreateDoesNotOverwrite(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "x")
	if err := create(file, "one"); err != nil {
		t.Fatal(err)
	}
	if err := create(file, "two"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("%v", err)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "one" {
		t.Errorf("%q, %v", text, err)
	}
	if entries, err := os.ReadDir(filepath.Dir(file)); err != nil || len(entries) != 1 {
		t.Errorf("left: %v, %v", entries, err)
	}
}
