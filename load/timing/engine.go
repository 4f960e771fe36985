package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/chassi-go/chassi/auth/store"
	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/load/slowdisk"
)

// engine is a database with the schema of authd, on a disk with an adjustable delay.
type engine struct {
	db       *database.DB
	setDelay func(time.Duration)
	waits    func() int64   // returns the number of waits for the disk
	closers  []func() error // called from last to first
}

func (e *engine) close() error {
	var errs []error
	for _, closer := range slices.Backward(e.closers) {
		errs = append(errs, closer())
	}
	e.closers = nil
	return errors.Join(errs...)
}

// open opens the database at url, migrates its schema and returns e. On error, open closes e.
func (e *engine) open(ctx context.Context, url string) (_ *engine, err error) {
	if e.db, err = database.Open(ctx, database.Config{URL: url}); err == nil {
		e.closers = append(e.closers, e.db.Close)
		_, err = e.db.Migrate(ctx, store.Migrations())
	}
	if err != nil {
		return nil, errors.Join(err, e.close())
	}
	return e, nil
}

func openSQLite(ctx context.Context, _ options) (*engine, error) {
	disk, err := slowdisk.SQLite()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "timing-")
	if err != nil {
		return nil, err
	}
	e := &engine{setDelay: disk.SetDelay, waits: disk.Syncs, closers: []func() error{func() error { return os.RemoveAll(dir) }}}
	return e.open(ctx, "sqlite:"+filepath.Join(dir, "timing.db"))
}

// openPostgres creates a schema on the server at o.postgres and returns an engine that uses the
// schema through a proxy that can delay commits.
func openPostgres(ctx context.Context, o options) (*engine, error) {
	u, err := url.Parse(o.postgres)
	if err != nil || u.Host == "" {
		return nil, usage("--postgres must be postgres://USER:PASSWORD@HOST:PORT/NAME?sslmode=disable")
	}
	admin, err := database.Open(ctx, database.Config{URL: o.postgres, ConnectTimeout: time.Second})
	if err != nil {
		return nil, usageError{fmt.Errorf("--postgres: %w", err)}
	}
	e := &engine{closers: []func() error{admin.Close}}
	schema := "timing_" + strings.ToLower(rand.Text())
	if _, err := admin.Exec(ctx, "CREATE SCHEMA "+schema); err != nil {
		return nil, errors.Join(err, e.close())
	}
	e.closers = append(e.closers, func() error {
		_, err := admin.Exec(context.WithoutCancel(ctx), "DROP SCHEMA "+schema+" CASCADE")
		return err
	})
	host := u.Host
	if u.Port() == "" {
		host += ":5432"
	}
	disk, err := slowdisk.Postgres(ctx, host)
	if err != nil {
		return nil, errors.Join(err, e.close())
	}
	e.closers = append(e.closers, disk.Close)
	e.setDelay, e.waits = disk.SetDelay, disk.Commits
	u.Host = disk.Addr()
	query := u.Query()
	query.Set("search_path", schema)
	query.Set("sslmode", "disable")
	u.RawQuery = query.Encode()
	return e.open(ctx, u.String())
}

// redacted returns the URL text with its password masked, or a placeholder if text is not a valid
// URL.
func redacted(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "the URL that was given"
	}
	return u.Redacted()
}
