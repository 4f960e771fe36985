package task

import (
	"context"

	"github.com/chassi-go/chassi/database"
)

// Advance is [Engine.Advance] in a program that runs no engine.
func Advance(ctx context.Context, db *database.DB, keys ...Key) error {
	e := &Engine{sql: newStatements(db.Dialect(), 0, 0)}
	batch := e.advanceStatements(keys)
	if len(batch) == 0 {
		return nil
	}
	return db.BatchShared(ctx, batch...)
}
