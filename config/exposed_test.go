//go:build unix

package config_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chassi-go/chassi/config"
)

// makeFile creates a file with the mode file in a directory with the mode folder, regardless
// of the umask.
func makeFile(t *testing.T, folder, file fs.FileMode) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "it's")
	path := filepath.Join(dir, "key")
	for _, err := range []error{
		os.Mkdir(dir, 0o700), os.WriteFile(path, []byte("x"), 0o600), os.Chmod(path, file), os.Chmod(dir, folder),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return path
}

func TestExposed(t *testing.T) {
	t.Parallel()
	const sticky = fs.ModeSticky
	for _, c := range []struct {
		folder, file fs.FileMode
		kind         config.FileKind
		what, fix    string // "" for not exposed
	}{
		{0o755, 0o600, config.PrivateFile, "", ""},
		{0o755, 0o660, config.PrivateFile, "", ""}, // group permissions are not checked
		{0o755, 0o644, config.TrustedFile, "", ""},
		{0o755, 0o644, config.PrivateFile, "can be read by every user", "chmod 600 "},
		{0o755, 0o604, config.DatabaseFile, "can be read by every user", "chmod 600 "},
		{0o755, 0o602, config.PrivateFile, "can be changed by every user", "chmod 600 "},
		{0o755, 0o666, config.TrustedFile, "can be changed by every user", "chmod o-w "},
		{0o777, 0o600, config.TrustedFile, "in which every user can replace it", "chmod o-w "},
		{0o777 | sticky, 0o600, config.PrivateFile, "", ""},
		{0o777 | sticky, 0o600, config.DatabaseFile, "can create files beside it", "mkdir -m 700"},
		{0o773, 0o600, config.DatabaseFile, "in which every user can replace it", "chmod o-w "},
	} {
		path := makeFile(t, c.folder, c.file)
		e := config.Exposed(path, c.kind)
		switch {
		case e == nil && c.what == "":
		case e == nil || c.what == "" || !strings.Contains(e.String(), c.what) || !strings.Contains(e.Fix, c.fix):
			t.Errorf("file %04o in directory %04o: %v, want %q", c.file, c.folder, e, c.what)
		case strings.HasPrefix(c.fix, "chmod") && !strings.Contains(e.Fix, `/it'\''s`):
			t.Errorf("the command has the path unquoted: %s", e.Fix)
		}
	}
	if e := config.Exposed(filepath.Join(t.TempDir(), "absent"), config.PrivateFile); e != nil {
		t.Errorf("a file that does not exist: %v", e)
	}
	// The program will create it.
	loose := filepath.Join(filepath.Dir(makeFile(t, 0o777, 0o600)), "absent")
	if e := config.Exposed(loose, config.DatabaseFile); e == nil || !strings.HasSuffix(e.Path, "it's/absent") || !strings.Contains(e.What, "replace it") {
		t.Errorf("a database that does not exist: %v", e)
	}
	if e := config.Exposed(filepath.Join(t.TempDir(), "absent"), config.DatabaseFile); e != nil {
		t.Errorf("a database that does not exist: %v", e)
	}
}

// Exposed follows links, and checks the directory of the link too.
func TestExposedFollowsLinks(t *testing.T) {
	t.Parallel()
	open, closed := makeFile(t, 0o755, 0o644), makeFile(t, 0o755, 0o600)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(open, link); err != nil {
		t.Fatal(err)
	}
	if e := config.Exposed(link, config.PrivateFile); e == nil || !strings.HasSuffix(e.Path, "it's/key") {
		t.Errorf("%v, want the target of the link", e)
	}
	loose := filepath.Join(filepath.Dir(makeFile(t, 0o777, 0o600)), "link")
	if err := os.Symlink(closed, loose); err != nil {
		t.Fatal(err)
	}
	if e := config.Exposed(loose, config.PrivateFile); e == nil || !strings.Contains(e.What, "replace it") {
		t.Errorf("%v, want the directory of the link", e)
	}
}

// Secrets that Kubernetes mounts are readable by all users of the container, and of it only.
func TestExposedIgnoresKubernetesSecrets(t *testing.T) {
	t.Parallel()
	mount := filepath.Join(t.TempDir(), "mount")
	version := filepath.Join(mount, "..2026_01_02_15_04_05.123456789")
	for _, err := range []error{
		os.MkdirAll(version, 0o755), os.Chmod(mount, 0o777|fs.ModeSticky), os.WriteFile(filepath.Join(version, "key"), []byte("x"), 0o600),
		os.Chmod(filepath.Join(version, "key"), 0o644), os.Symlink(filepath.Base(version), filepath.Join(mount, "..data")),
		os.Symlink("..data/key", filepath.Join(mount, "key")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if e := config.Exposed(filepath.Join(mount, "key"), config.PrivateFile); e != nil {
		t.Errorf("%v", e)
	}
	if err := os.Chmod(filepath.Join(version, "key"), 0o666); err != nil {
		t.Fatal(err)
	}
	if e := config.Exposed(filepath.Join(mount, "key"), config.PrivateFile); e == nil {
		t.Error("a secret that everybody can change")
	}
}
