package standard

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/memlimit"
)

// capacity compares what the configuration allows with the limits that the operating
// system sets for the process, once when the program starts.
type capacity struct {
	logger *slog.Logger
	needs  []descriptors
	limit  func() (descriptors uint64, ok bool)
}

// descriptors is how many file descriptors a setting may take.
type descriptors struct {
	setting string // empty for those that no setting bounds
	value   int
	count   int
}

// ownDescriptors are for logs, files, brokers, exporters and the runtime itself.
const ownDescriptors = 64

// newCapacity knows the listeners of the configuration.
func newCapacity(c Config, logger *slog.Logger) *capacity {
	k := &capacity{logger: logger, limit: descriptorLimit, needs: []descriptors{{count: ownDescriptors}}}
	k.add("http.max_connections", c.HTTP.MaxConnections)
	k.add("admin.max_connections", c.Admin.MaxConnections)
	if c.GRPC.Addr != off {
		k.add("grpc.max_connections", c.GRPC.MaxConnections)
	}
	if c.NATS.URL == embeddedNATS {
		k.add("nats.embedded.max_connections", c.NATS.Embedded.MaxConnections)
	}
	return k
}

func (k *capacity) add(setting string, n int) {
	k.needs = append(k.needs, descriptors{setting, n, n})
}

// warn is the start of a [chassi.Server], so that all needs are known.
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

// server is the comparison as the App runs it.
func (k *capacity) server() chassi.Server { return chassi.ServerFunc("capacity", k.warn, nil) }

// Descriptors makes the start of the program count that a setting of its own, with this
// value, allows up to count file descriptors: connections of a database, open files. The
// listeners of Config are counted without it. It comes before Run.
func (s *Standard) Descriptors(setting string, value, count int) {
	s.capacity.needs = append(s.capacity.needs, descriptors{setting, value, count})
}

// limitMemory makes the garbage collector keep to the memory limit of the container.
func limitMemory(logger *slog.Logger) {
	if container, memory := memlimit.Apply(); container.Bytes > 0 {
		logger.Info("memory is limited", "limit_bytes", container.Bytes, "file", container.File, "gomemlimit_bytes", memory)
	}
}
