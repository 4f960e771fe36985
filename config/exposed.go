package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// FileKind classifies a file by the protection that it needs from other users of the machine.
type FileKind uint8

const (
	// TrustedFile is a file that every user may read but only its owner may change, such as a
	// configuration without secrets, or certificates.
	TrustedFile FileKind = iota
	// PrivateFile is a file or directory that other users may neither read nor change.
	PrivateFile
	// DatabaseFile is a private file beside which the program creates other files. Other users must
	// not be able to create files in its directory, even if the directory has the sticky bit.
	DatabaseFile
)

// Exposure describes how every user of the machine can read or change a file.
type Exposure struct {
	Path string      // path of the file, with links resolved
	Mode fs.FileMode // mode of the file, or of the directory that is the problem
	What string      // description, such as "can be read by every user"
	Fix  string      // how to remove the exposure, usually a command
}

// Exposed returns how every user of the machine can read or change the file at path, which needs
// the protection of the given kind. It returns nil if the file is protected, does not exist or
// cannot be examined, and on Windows, where the mode of a file has no such meaning. For a
// DatabaseFile that does not exist, which the program will create, it checks the directory. Exposed
// follows links. It does not check the permissions of the file's group, because an operator, or
// Kubernetes' fsGroup, uses them to give the program access.
//
// Secrets that Kubernetes and Docker mount into a container are often readable by all of its users,
// and have to be if the program does not run as root. Exposed does not report that, because a
// container has no other users. It recognizes such secrets by the directory that Kubernetes
// replaces, "..2026_01_02_…", and by /run/secrets.
func Exposed(path string, kind FileKind) *Exposure {
	resolved, err := filepath.Abs(path)
	if err != nil || !modesMatter {
		return nil
	}
	if kind == DatabaseFile && isMissing(resolved) {
		dir, err := filepath.EvalSymlinks(filepath.Dir(resolved))
		if err != nil {
			return nil
		}
		return exposedDirectory(dir, filepath.Join(dir, filepath.Base(resolved)), kind)
	}
	if resolved, err = filepath.EvalSymlinks(resolved); err != nil {
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
	for _, dir := range directories(path, resolved) {
		if e := exposedDirectory(dir, resolved, kind); e != nil {
			return e
		}
	}
	return nil
}

// isMissing reports whether there is neither a file nor a link at path.
func isMissing(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, fs.ErrNotExist)
}

// directories returns the directory of the file at resolved and, if path is a link in another
// directory, the directory of the link.
func directories(path, resolved string) []string {
	dirs := []string{filepath.Dir(resolved)}
	if link, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil && link != dirs[0] {
		dirs = append(dirs, link)
	}
	return dirs
}

// exposedDirectory returns the exposure of the file at resolved if every user can replace it in dir
// or, for a DatabaseFile, create files beside it. It returns nil otherwise. The sticky bit prevents
// replacement, but not the creation of other files.
func exposedDirectory(dir, resolved string, kind FileKind) *Exposure {
	info, err := os.Stat(dir)
	if err != nil || info.Mode()&0o002 == 0 {
		return nil
	}
	switch {
	case info.Mode()&fs.ModeSticky == 0:
		return &Exposure{resolved, info.Mode(), "is in a directory in which every user can replace it", "chmod o-w " + quote(dir)}
	case kind == DatabaseFile:
		return &Exposure{resolved, info.Mode(), "is in a directory in which every user can create files beside it, such as a journal",
			"move it to a directory of its own (mkdir -m 700)"}
	default:
		return nil
	}
}

// restrict returns the chmod command that removes the exposure. For a TrustedFile the command
// removes the write permission of other users, and otherwise all permissions of other users and of
// the group. It keeps those of the group if the file belongs to another user, because the program
// may need them to read the file.
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

// isMountedSecret reports whether resolved, a path with links resolved, is the path of a secret
// that is mounted into a container.
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

// quote returns path, quoted for a shell if necessary.
func quote(path string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+@:,"
	if strings.Trim(path, plain) == "" {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}

// String returns a description of the exposure in one sentence.
func (e *Exposure) String() string { return fmt.Sprintf("%s (mode %04o) %s", e.Path, e.Perm(), e.What) }

// Perm returns the mode in the form that chmod accepts: the permission bits and the sticky bit.
func (e *Exposure) Perm() uint32 {
	perm := uint32(e.Mode.Perm())
	if e.Mode&fs.ModeSticky != 0 {
		perm |= 0o1000
	}
	return perm
}
