package standard

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/chassi-go/chassi/internal/memlimit"
)

// capacity compares the configured limits with those that the operating system sets for the
// process, once at the start of the program.
type capacity struct {
	logger *slog.Logger
	needs  []descriptors
	limit  func() (descriptors uint64, ok bool)
}

// descriptors is the maximum number of file descriptors that a setting allows.
type descriptors struct {
	setting string // empty for those without a setting
	value   int
	count   int
}

// ownDescriptors is the number for logs, files, brokers, exporters and the runtime.
const ownDescriptors = 64

func newCapacity(logger *slog.Logger) *capacity {
	return &capacity{logger: logger, limit: descriptorLimit, needs: []descriptors{{count: ownDescriptors}}}
}

// warn logs a warning if the settings allow more file descriptors than the process may open. It is
// the Start of a [chassi.Component], so that all settings have been declared.
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

// Descriptors declares that a setting with this value allows up to count file descriptors, such
// as connections or open files. The program logs a warning at its start if it may not open that
// many.
func (a *App) Descriptors(setting string, value, count int) {
	a.capacity.needs = append(a.capacity.needs, descriptors{setting, value, count})
}

// limitMemory sets the memory limit of the garbage collector according to that of the container,
// and logs both.
func limitMemory(logger *slog.Logger) {
	if container, memory := memlimit.Apply(); container.Bytes > 0 {
		logger.Info("memory is limited", "limit_bytes", container.Bytes, "file", container.File, "gomemlimit_bytes", memory)
	}
}
