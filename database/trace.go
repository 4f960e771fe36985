package database

import (
	"context"
	"errors"
	"strconv"

	"github.com/chassi-go/chassi/calltrace"
	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
)

// trace records that a statement begins. It returns nil when the call of ctx is not
// recorded; [ended] takes either. Of the text only the operation and the table are
// recorded, of the arguments nothing.
func (db *DB) trace(ctx context.Context, query string) calltrace.End {
	start := calltrace.From(ctx)
	if start == nil {
		return nil
	}
	o := calltrace.Operation{System: "sqlite"}
	if db.target.dialect == Postgres {
		o.System, o.Namespace = "postgresql", db.target.name
	}
	o.Name, o.Target = summarize(query)
	_, end := start(ctx, o)
	return end
}

// ended records how a statement ended. The text of err is not recorded, because it may
// hold values.
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

// String names the class for traces.
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
