package config

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// FileKind says what must be kept from other users of the machine.
type FileKind uint8

const (
	// TrustedFile is a file that anybody may read but only its owner may change, such as a
	// configuration without secrets, or certificates.
	TrustedFile FileKind = iota
	// PrivateFile is a file, or a folder, that others must not read either.
	PrivateFile
	// DatabaseFile is a private file beside which the program makes others, so that its
	// folder must not let anybody make them first, not even with the sticky bit.
	DatabaseFile
)

// Exposure is a way in which every user of the machine can get at a file.
type Exposure struct {
	Path string      // the file's, with links followed
	Mode fs.FileMode // of the file, or of the folder that is the problem
	What string      // "can be read by every user", ...
	Fix  string      // the command that ends it
}

// Exposed reports how every user of the machine can get at a file, nil if there is no
// such way, if the file does not exist, and on Windows, where the mode says nothing.
// Links are followed. The rights of the file's group are not looked at: they are how an
// operator, or Kubernetes' fsGroup, gives a file to the user that the program runs as.
//
// Files that Kubernetes and Docker mount into a container as its secrets are often
// readable by all within it, and must be where the program runs as another user than
// root. That is no exposure: nobody else is in there. They are known by the folder that
// Kubernetes swaps, "..2026_01_02_…", and by /run/secrets.
func Exposed(path string, kind FileKind) *Exposure {
	resolved, err := filepath.Abs(path)
	if err == nil {
		resolved, err = filepath.EvalSymlinks(resolved)
	}
	if err != nil || !modesMatter {
		return nil
	}
	info, err := os.Stat(resolved)
	if err != nil {
		return nil
	}
	mode := info.Mode()
	switch {
	case mode&0o002 != 0:
		return &Exposure{resolved, mode, "can be changed by every user", restrict(resolved, info, kind)}
	case mode&0o004 != 0 && kind != TrustedFile && !isMountedSecret(resolved):
		return &Exposure{resolved, mode, "can be read by every user", restrict(resolved, info, kind)}
	}
	for _, folder := range foldersOf(path, resolved) {
		if e := exposedFolder(folder, resolved, kind); e != nil {
			return e
		}
	}
	return nil
}

// foldersOf returns the folders of the file and of the link to it.
func foldersOf(path, resolved string) []string {
	folders := []string{filepath.Dir(resolved)}
	if link, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil && link != folders[0] {
		folders = append(folders, link)
	}
	return folders
}

// exposedFolder looks for a folder in which every user can put another file in the place
// of this one. The sticky bit keeps them from that, but not from making new files.
func exposedFolder(folder, resolved string, kind FileKind) *Exposure {
	info, err := os.Stat(folder)
	if err != nil || info.Mode()&0o002 == 0 {
		return nil
	}
	switch {
	case info.Mode()&fs.ModeSticky == 0:
		return &Exposure{resolved, info.Mode(), "lies in a folder that lets it be replaced by every user", "chmod o-w " + quote(folder)}
	case kind == DatabaseFile:
		return &Exposure{resolved, info.Mode(), "lies in a folder that lets a journal be put beside it by every user",
			"move it to a folder of its own (mkdir -m 700)"}
	default:
		return nil
	}
}

// restrict returns the command that takes away the rights of others. Those of the group
// stay where the owner is somebody else: they may be how the program reads the file.
func restrict(path string, info fs.FileInfo, kind FileKind) string {
	switch {
	case kind == TrustedFile:
		return "chmod o-w " + quote(path)
	case !isOurs(info):
		return "chmod o-rwx " + quote(path)
	case info.IsDir():
		return "chmod 700 " + quote(path)
	default:
		return "chmod 600 " + quote(path)
	}
}

// isMountedSecret reports whether a path, with links followed, is that of a secret in a
// container.
func isMountedSecret(resolved string) bool {
	if strings.HasPrefix(resolved, "/run/secrets/") {
		return true
	}
	for element := range strings.SplitSeq(filepath.ToSlash(resolved), "/") {
		if strings.HasPrefix(element, "..2") { // ..2026_01_02_15_04_05.123456789
			return true
		}
	}
	return false
}

// quote makes a path one word of a shell.
func quote(path string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+@:,"
	if strings.Trim(path, plain) == "" {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}

// String describes the exposure in one sentence.
func (e *Exposure) String() string { return fmt.Sprintf("%s (mode %04o) %s", e.Path, e.Perm(), e.What) }

// Perm returns the mode as chmod takes it: the permission bits and the sticky bit.
func (e *Exposure) Perm() uint32 {
	perm := uint32(e.Mode.Perm())
	if e.Mode&fs.ModeSticky != 0 {
		perm |= 0o1000
	}
	return perm
}
