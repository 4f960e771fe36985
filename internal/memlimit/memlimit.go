// Package memlimit applies a container's memory limit, which is the limit of the process's control
// group (cgroup), to Go's garbage collector.
package memlimit

import (
	"os"
	"path"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
)

// Limit is a memory limit of a control group.
type Limit struct {
	Bytes int64  // 0 if memory is not limited
	File  string // path of the file that contains the limit
}

// Container returns the lowest memory limit of this process's control group and its ancestors, in
// versions 1 and 2 of cgroups. It ignores files that cannot be read.
func Container() Limit { return container("/") }

// unlimited is the smallest number of bytes that means no limit. If no limit is set, version 1 of
// cgroups reports a larger number, which depends on the page size.
const unlimited = 1 << 62

func container(root string) (lowest Limit) {
	for _, g := range groups(root) {
		for dir := g.dir; ; dir = path.Dir(dir) {
			file := path.Join(dir, g.file)
			text, err := os.ReadFile(filepath.Join(root, file))
			n, parseErr := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64) // "max" is no number
			if err == nil && parseErr == nil && n > 0 && n < unlimited && (lowest.Bytes == 0 || n < lowest.Bytes) {
				lowest = Limit{Bytes: n, File: file}
			}
			if dir == g.mount || len(dir) <= len(g.mount) {
				break
			}
		}
	}
	return lowest
}

// group is a control group that may limit memory.
type group struct {
	mount, dir string // mount point, and directory of the group at or below the mount point
	file       string // name of the file with the limit, in dir and in the directories above it
}

// groups returns the process's control group in each mounted hierarchy that can limit memory.
func groups(root string) (found []group) {
	memberships, _ := os.ReadFile(filepath.Join(root, "/proc/self/cgroup"))
	mounts, _ := os.ReadFile(filepath.Join(root, "/proc/self/mountinfo"))
	for line := range strings.Lines(string(mounts)) { // see proc_pid_mountinfo(5)
		fields, filesystem, _ := strings.Cut(line, " - ")
		f, s := strings.Fields(fields), strings.Fields(filesystem)
		if len(f) < 5 || len(s) < 3 {
			continue
		}
		g := group{mount: f[4], file: "memory.max"}
		controller := ""
		if s[0] == "cgroup" {
			g.file, controller = "memory.limit_in_bytes", "memory"
		}
		if s[0] != "cgroup" && s[0] != "cgroup2" || !hasWord(s[2], controller) {
			continue
		}
		if name, ok := membership(string(memberships), controller); ok {
			// Without a cgroup namespace a container sees its group's name on the host, and
			// has that group mounted as the top.
			if below, err := filepath.Rel(f[3], name); err == nil && !strings.HasPrefix(below, "..") {
				g.dir = path.Join(g.mount, below)
			} else {
				g.dir = g.mount
			}
			found = append(found, g)
		}
	}
	return found
}

// membership returns the path of the process's control group for a controller, and whether there
// is one. text is the content of /proc/self/cgroup. The controller "" means version 2 of cgroups.
func membership(text, controller string) (name string, ok bool) {
	for line := range strings.Lines(text) { // 4:memory:/name, and 0::/name for version 2
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(parts) == 3 && (controller == "" && parts[0] == "0" || controller != "" && hasWord(parts[1], controller)) {
			return parts[2], true
		}
	}
	return "", false
}

// hasWord reports whether word is in list, which is separated by commas. The word "" is in every
// list.
func hasWord(list, word string) bool {
	return word == "" || strings.Contains(","+list+",", ","+word+",")
}

// reserve is the minimum number of bytes that is left, in a container with at least twice as many,
// for memory that Go's runtime does not count: SQLite's caches, the kernel's socket buffers, and
// pages of the program's file.
const reserve = 16 << 20

// share returns the memory limit for Go's runtime, given a container's limit, both in bytes: nine
// tenths of the container's limit, less if the rest would be smaller than reserve, but at least
// half.
func share(container int64) int64 {
	return max(container-max(container/10, reserve), container/2)
}

// Apply sets the memory limit of Go's runtime to the container's limit minus a reserve. It changes
// nothing if the container's memory is not limited, or if GOMEMLIMIT is set. It returns the
// container's limit and the limit of the runtime in bytes, which is [math.MaxInt64] if there is
// none.
func Apply() (container Limit, memory int64) {
	container = Container()
	if container.Bytes > 0 && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(share(container.Bytes))
	}
	return container, debug.SetMemoryLimit(-1)
}
