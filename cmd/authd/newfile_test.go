package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A file comes to be as a whole, for its owner only, or not at all, and never in place of
// another one, also of one that came first a moment ago.
func TestNewFileIsWholeOrNotThere(t *testing.T) {
	t.Parallel()
	failed := errors.New("a disk that is full")
	for name, c := range map[string]struct {
		fill  func(temp, path string) error
		want  string // of the error
		holds string // the file afterwards, "" for none
	}{
		"made":   {func(temp, _ string) error { return os.WriteFile(temp, []byte("whole"), 0o600) }, "", "whole"},
		"failed": {func(temp, _ string) error { return errors.Join(os.WriteFile(temp, []byte("ha"), 0o600), failed) }, failed.Error(), ""},
		"with files beside it": {func(temp, _ string) error {
			return errors.Join(os.WriteFile(temp+"-journal", nil, 0o600), os.WriteFile(temp+"-wal", nil, 0o600), failed)
		}, failed.Error(), ""},
		"second": {func(_, path string) error { return os.WriteFile(path, []byte("first"), 0o600) }, "already exists", "first"},
	} {
		path := filepath.Join(t.TempDir(), "new")
		err := newFile(path, func(temp string) error { return c.fill(temp, path) })
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		left, readErr := os.ReadDir(filepath.Dir(path))
		text, _ := os.ReadFile(path)
		if string(text) != c.holds || readErr != nil || len(left) > 1 || len(left) == 1 && c.holds == "" {
			t.Errorf("%s: %q and %v, want %q alone", name, text, left, c.holds)
		}
		if info, err := os.Stat(path); err == nil && info.Mode() != 0o600 {
			t.Errorf("%s: mode %v", name, info.Mode())
		}
		if c.holds != "" {
			if err := newFile(path, func(string) error { t.Error("called for nothing"); return nil }); err == nil {
				t.Errorf("%s: overwritten", name)
			}
		}
	}
}
