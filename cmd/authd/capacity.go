package main

import (
	"fmt"
	"log/slog"

	"github.com/chassi-go/chassi/internal/memlimit"
	"github.com/chassi-go/chassi/standard"
	"github.com/chassi-go/chassi/workpool"
)

// baseMemory is the memory in bytes that authd needs in addition to password hashing, measured
// under a high rate of logins; see docs/operations.md.
const baseMemory = 40 << 20

// fitHashing returns options of the hashing pool with which concurrent password hashes fit in the
// memory limit. It lowers the default of hash.workers, and returns a usage error if a configured
// value is too high or if not even one hash fits.
func (c *Config) fitHashing(o workpool.Options, limit memlimit.Limit, logger *slog.Logger) (workpool.Options, error) {
	each := int64(c.Password.Memory) << 10
	if limit.Bytes == 0 || baseMemory+int64(o.Workers)*each <= limit.Bytes {
		return o, nil
	}
	fit := (limit.Bytes - baseMemory) / each
	if c.Hash.Workers != 0 || fit < 1 {
		remedy := "lower argon2.memory_kib or raise the limit"
		if fit >= 1 {
			remedy = fmt.Sprintf("set hash.workers to at most %d, %s", fit, remedy)
		}
		return o, standard.UsageError{Err: fmt.Errorf("%d concurrent password hashes (hash.workers) of %d KiB each (argon2.memory_kib) "+
			"and %d MiB for everything else need %d MiB, but the memory limit is %d MiB (%s): %s",
			max(c.Hash.Workers, 1), c.Password.Memory, baseMemory>>20,
			(baseMemory+int64(max(c.Hash.Workers, 1))*each+1<<20-1)>>20, limit.Bytes>>20, limit.File, remedy)}
	}
	logger.Warn("fewer passwords are hashed at once than there are cores: the memory limit holds no more",
		"hash.workers", fit, "cores", o.Workers, "argon2.memory_kib", c.Password.Memory, "limit_bytes", limit.Bytes)
	c.Hash.Workers = int(fit)
	return c.poolOptions(), nil
}
