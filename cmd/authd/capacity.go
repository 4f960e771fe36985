package main

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/config"
	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/internal/memlimit"
	"github.com/chassi-go/chassi/standard"
	"github.com/chassi-go/chassi/workpool"
)

// baseMemory is what authd needs besides the passwords that are hashed, measured under a
// flood of logins, see docs/operations.md.
const baseMemory = 40 << 20

// fitHashing keeps the memory of the passwords hashed at once within the limit: it lowers
// the default of hash.workers, and refuses one that was set.
func (p *program) fitHashing(o workpool.Options, limit memlimit.Limit, logger *slog.Logger) (workpool.Options, error) {
	each := int64(p.config.Password.Memory) << 10
	if limit.Bytes == 0 || baseMemory+int64(o.Workers)*each <= limit.Bytes {
		return o, nil
	}
	fit := (limit.Bytes - baseMemory) / each
	if p.config.Hash.Workers != 0 || fit < 1 {
		remedy := "lower argon2.memory or raise the limit"
		if fit >= 1 {
			remedy = fmt.Sprintf("set hash.workers to at most %d, %s", fit, remedy)
		}
		return o, usageError{fmt.Errorf("hash.workers (%d) passwords at once, each in argon2.memory (%d KiB), and %d MiB for all else need %d MiB, and the memory limit is %d MiB (%s): %s",
			max(p.config.Hash.Workers, 1), p.config.Password.Memory, baseMemory>>20,
			(baseMemory+int64(max(p.config.Hash.Workers, 1))*each+1<<20-1)>>20, limit.Bytes>>20, limit.File, remedy)}
	}
	logger.Warn("fewer passwords are hashed at once than there are cores: the memory limit holds no more",
		"hash.workers", fit, "cores", o.Workers, "argon2.memory", p.config.Password.Memory, "limit_bytes", limit.Bytes)
	p.config.Hash.Workers = int(fit)
	return p.poolOptions(), nil
}

// declareDatabase makes the start warn of files that all can read, and count the file
// descriptors of the connections: on SQLite each has the file and its write-ahead log, and
// one connection is the writer's.
func (p *program) declareDatabase(std *standard.Standard, db *database.DB) {
	std.Private("database.url", config.DatabaseFile, db.Files()...)
	maxOpen, descriptors := p.config.Database.MaxOpen, p.config.Database.MaxOpen
	if db.Dialect() == database.SQLite {
		descriptors = 2 * (maxOpen + 2)
	}
	std.Descriptors("database.max_open", maxOpen, descriptors)
}

// warnOfRoom warns of a database that may refuse connections of the pool. It is the start
// of a [chassi.Server] behind the database's.
func warnOfRoom(db *database.DB, logger *slog.Logger) chassi.Server {
	return chassi.ServerFunc("database connections", func(ctx context.Context) error {
		if err := db.CheckRoom(ctx); err != nil && !database.IsUnavailable(err) {
			logger.Warn("the database may refuse connections of this node", "error", err.Error(),
				"fix", "lower database.max_open on all nodes, raise PostgreSQL's limit, or put PgBouncer between")
		}
		return nil
	}, nil)
}
