package memlimit

import (
	"maps"
	"os"
	"path/filepath"
	"testing"
)

const (
	v2Mount = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
	v1Mount = "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
	cpuV1   = "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n"
)

// R99: the limit of the process's own group and of those above it, in version 1 and 2.
func TestContainerReadsTheLowestLimit(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		groups, mounts string
		files          map[string]string
		want           Limit
	}{
		"version 2": {
			"0::/\n", v2Mount, map[string]string{"/sys/fs/cgroup/memory.max": "100663296\n"},
			Limit{96 << 20, "/sys/fs/cgroup/memory.max"},
		},
		"a group of systemd, limited above": {
			"0::/system.slice/authd.service\n", v2Mount,
			map[string]string{"/sys/fs/cgroup/system.slice/authd.service/memory.max": "max\n", "/sys/fs/cgroup/system.slice/memory.max": "1048576\n"},
			Limit{1 << 20, "/sys/fs/cgroup/system.slice/memory.max"},
		},
		"the lowest of several": {
			"0::/a/b\n", v2Mount,
			map[string]string{"/sys/fs/cgroup/a/b/memory.max": "3000\n", "/sys/fs/cgroup/a/memory.max": "2000\n", "/sys/fs/cgroup/memory.max": "4000\n"},
			Limit{2000, "/sys/fs/cgroup/a/memory.max"},
		},
		"a host": {"0::/user.slice\n", v2Mount, map[string]string{"/sys/fs/cgroup/user.slice/memory.max": "max\n"}, Limit{}},
		"version 1": {
			"4:memory:/docker/1f\n1:cpu:/docker/1f\n0::/\n", cpuV1 + v1Mount,
			map[string]string{"/sys/fs/cgroup/memory/docker/1f/memory.limit_in_bytes": "67108864\n", "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"},
			Limit{64 << 20, "/sys/fs/cgroup/memory/docker/1f/memory.limit_in_bytes"},
		},
		"version 1 in a container without a namespace": {
			"4:memory:/docker/1f\n", "35 31 0:32 /docker/1f /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n",
			map[string]string{"/sys/fs/cgroup/memory/memory.limit_in_bytes": "67108864\n"},
			Limit{64 << 20, "/sys/fs/cgroup/memory/memory.limit_in_bytes"},
		},
		"version 1 beside version 2 without memory": {
			"4:memory:/a\n0::/\n", "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n" + v1Mount,
			map[string]string{"/sys/fs/cgroup/memory/a/memory.limit_in_bytes": "67108864\n"},
			Limit{64 << 20, "/sys/fs/cgroup/memory/a/memory.limit_in_bytes"},
		},
		"above the namespace": {"0::/../other\n", v2Mount, map[string]string{"/sys/fs/cgroup/memory.max": "5000\n"}, Limit{5000, "/sys/fs/cgroup/memory.max"}},
		"nonsense":            {"0::/\n0:\nx\n", v2Mount + "1 2 - \n - x\n", map[string]string{"/sys/fs/cgroup/memory.max": "-1\n"}, Limit{}},
		"no /proc":            {"", "", nil, Limit{}},
	} {
		root := t.TempDir()
		files := map[string]string{"/proc/self/cgroup": c.groups, "/proc/self/mountinfo": c.mounts}
		maps.Copy(files, c.files)
		for file, text := range files {
			if text == "" {
				continue
			}
			path := filepath.Join(root, file)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got := container(root); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func TestShareLeavesMemoryForOthers(t *testing.T) {
	t.Parallel()
	for container, want := range map[int64]int64{16 << 20: 8 << 20, 96 << 20: 80 << 20, 1000 << 20: 900 << 20} {
		if got := share(container); got != want {
			t.Errorf("of %d MiB: %d MiB, want %d", container>>20, got>>20, want>>20)
		}
	}
}
