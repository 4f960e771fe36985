// Package memlimit applies the memory limit of the process's control group (cgroup), which is
// how a container's memory is limited, to Go's garbage collector.
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
	File  string // where it was read
}

// Container returns the lowest memory limit of this process's control group and its ancestors, of
// versions 1 and 2 of cgroups. Unreadable files are ignored.
func Container() Limit { return container("/") }

// unlimited is the smallest number that means no limit. If no limit is set, version 1 reports a
// larger number, which depends on the page size.
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
	mount, dir string // dir is mount or below it
	file       string // in dir and in each folder above it
}

// groups returns the process's group in each mounted hierarchy that controls memory.
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

// membership returns the name of the process's group for a controller. The controller "" means
// version 2.
func membership(text, controller string) (name string, ok bool) {
	for line := range strings.Lines(text) { // 4:memory:/name, and 0::/name for version 2
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(parts) == 3 && (controller == "" && parts[0] == "0" || controller != "" && hasWord(parts[1], controller)) {
			return parts[2], true
		}
	}
	return "", false
}

// hasWord reports whether word is in a comma-separated list. The word "" is in every list.
func hasWord(list, word string) bool {
	return word == "" || strings.Contains(","+list+",", ","+word+",")
}

// reserve is the minimum of the memory that is left for what Go's runtime does not count: SQLite's
// caches, the kernel's socket buffers, and pages of the program's file.
const reserve = 16 << 20

// share returns the memory limit for Go's runtime, given a container's limit: nine tenths of that,
// less if the rest would be smaller than reserve, but at least half.
func share(container int64) int64 {
	return max(container-max(container/10, reserve), container/2)
}

// Apply sets the memory limit of Go's runtime to the container's limit minus a reserve. It returns
// the container's limit and the limit of the runtime. It changes nothing if memory is not limited,
// or if GOMEMLIMIT is set.
func Apply() (container Limit, memory int64) {
	container = Container()
	if container.Bytes > 0 && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(share(container.Bytes))
	}
	return container, debug.SetMemoryLimit(-1)
}
