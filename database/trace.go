package database

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/chassi-go/chassi/calltrace"
	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
)

// trace records that a statement begins, and returns the function that records its end, for
// [ended]. It returns nil if the call to which ctx belongs is not recorded. Only the operation and
// the table of the statement are recorded, not its text or its arguments.
func (db *DB) trace(ctx context.Context, query string) calltrace.End {
	start := calltrace.From(ctx)
	if start == nil {
		return nil
	}
	name, table := summarize(query)
	return db.traceAs(ctx, start, name, table)
}

// traceBatch records that a batch begins, and returns the function that records its end, or nil, as
// [DB.trace] does. For several statements it records "BATCH", followed by the operation if all
// statements have the same operation, and the table if all statements have the same table.
func (db *DB) traceBatch(ctx context.Context, statements []Statement) calltrace.End {
	start := calltrace.From(ctx)
	if start == nil {
		return nil
	}
	operation, table := summarize(statements[0].SQL)
	if len(statements) == 1 {
		return db.traceAs(ctx, start, operation, table)
	}
	for _, st := range statements[1:] {
		switch o, t := summarize(st.SQL); {
		case o != operation && t != table:
			operation, table = "", ""
		case o != operation:
			operation = ""
		case t != table:
			table = ""
		}
	}
	return db.traceAs(ctx, start, strings.TrimSpace("BATCH "+operation), table)
}

func (db *DB) traceAs(ctx context.Context, start calltrace.Tracer, name, table string) calltrace.End {
	o := calltrace.Operation{System: "sqlite", Name: name, Target: table}
	if db.target.dialect == Postgres {
		o.System, o.Namespace = "postgresql", db.target.name
	}
	_, end := start(ctx, o)
	return end
}

// ended records how a statement ended. It does nothing if end is nil. The text of err is not
// recorded, because it may contain values.
func ended(end calltrace.End, err error) {
	if end == nil {
		return
	}
	var pg *pgconn.PgError
	var lite *sqlite.Error
	switch {
	case err == nil:
		end("", "")
	case errors.Is(err, context.Canceled):
		end("", "canceled")
	case errors.As(err, &pg):
		end(pg.Code, "")
	case errors.As(err, &lite):
		end(strconv.Itoa(lite.Code()), "")
	default:
		end("", classOf(err).String())
	}
}

// String returns the name of the class in traces.
func (c class) String() string {
	switch c {
	case classUnavailable:
		return "unavailable"
	case classTimeout:
		return "timeout"
	case classReadOnly:
		return "read_only"
	case classLost:
		return "connection_lost"
	case classConflict:
		return "conflict"
	case classBusy:
		return "busy"
	default:
		return "_OTHER" // as OpenTelemetry has it
	}
}
