package standard

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/chassi-go/chassi/internal/memlimit"
)

// capacity compares, once at the start of the program, the number of file descriptors that the
// settings allow with the number that the process may open.
type capacity struct {
	logger *slog.Logger
	needs  []descriptors
	limit  func() (descriptors uint64, ok bool)
}

// descriptors is the maximum number of file descriptors that a setting allows.
type descriptors struct {
	setting string // "" for descriptors that no setting limits
	value   int
	count   int
}

// ownDescriptors is the assumed number of descriptors for logs, files, brokers, exporters and the
// runtime.
const ownDescriptors = 64

func newCapacity(logger *slog.Logger) *capacity {
	return &capacity{logger: logger, limit: descriptorLimit, needs: []descriptors{{count: ownDescriptors}}}
}

// warn logs a warning if the settings allow more file descriptors than the process may open. It is
// the Start of a [chassi.Component], and so runs after all settings have been declared. It always
// returns nil.
func (k *capacity) warn(context.Context) error {
	limit, ok := k.limit()
	if !ok {
		return nil
	}
	var sum uint64
	var settings []string
	for _, n := range k.needs {
		sum += uint64(max(n.count, 0))
		if n.setting != "" {
			settings = append(settings, fmt.Sprintf("%s=%d", n.setting, n.value))
		}
	}
	if sum > limit {
		k.logger.Warn("the settings allow more connections and files than the process may open; those beyond the limit will wait or fail",
			"limit", "RLIMIT_NOFILE", "value", limit, "needed", sum, "settings", strings.Join(settings, " "),
			"fix", "raise the limit (systemd: LimitNOFILE, Compose: ulimits.nofile, shell: ulimit -n), or lower the settings")
	}
	return nil
}

// Descriptors declares that a setting with the given value allows up to count file descriptors,
// such as connections or open files. The program logs a warning at its start if it may not open as
// many file descriptors as all declared settings allow together.
func (a *App) Descriptors(setting string, value, count int) {
	a.capacity.needs = append(a.capacity.needs, descriptors{setting, value, count})
}

// limitMemory sets the memory limit of the Go runtime according to the memory limit of the
// container, unless GOMEMLIMIT is set, and logs both. It does nothing if the container has no
// limit.
func limitMemory(logger *slog.Logger) {
	if container, memory := memlimit.Apply(); container.Bytes > 0 {
		logger.Info("memory is limited", "limit_bytes", container.Bytes, "file", container.File, "gomemlimit_bytes", memory)
	}
}
