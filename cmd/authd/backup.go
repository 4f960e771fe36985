package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/chassi-go/chassi/auth/service"
	"github.com/chassi-go/chassi/auth/store"
	"github.com/chassi-go/chassi/database"
)

// backup copies a SQLite database that may be in use, of whatever schema.
func backup(ctx context.Context, p *program) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	if _, err := database.File(p.config.Database); err != nil {
		return notSQLite(err, `pg_dump --format=custom --file=FILE "$AUTHD_DATABASE_URL"`)
	}
	if err := p.requireSchema(ctx); err != nil {
		return err
	}
	var copied database.Copied
	err := newFile(p.args[0], func(temp string) (err error) {
		copied, err = database.Copy(ctx, p.config.Database, temp)
		return err //nolint:wrapcheck // says where
	})
	if err != nil {
		return err
	}
	return p.say("backed up %d accounts as of %s to %s", copied.Rows["users"], copied.At.UTC().Format(time.RFC3339Nano), p.args[0])
}

// requireSchema refuses a database that was never one of authd's. An older schema is what
// there is to back up before an update.
func (p *program) requireSchema(ctx context.Context) (err error) {
	db, err := database.OpenReadOnly(ctx, p.config.Database)
	if err != nil {
		return advise(err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	err = db.CheckSchema(ctx, store.Migrations())
	if e, ok := errors.AsType[*database.SchemaError](err); ok && e.Have > 0 {
		return nil
	}
	return advise(err)
}

// notSQLite names the tool that does it for PostgreSQL.
func notSQLite(err error, tool string) error {
	if errors.Is(err, database.ErrNotSQLite) {
		err = fmt.Errorf("database.url names no SQLite file, and only such a one is copied by authd. For PostgreSQL: %s; see docs/operations.md", tool)
	}
	return usageError{err}
}

// restore makes the database anew from a backup. It exists afterwards or, after any error,
// does not: the whole work is done in a temporary file.
func restore(ctx context.Context, p *program) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	target, err := database.File(p.config.Database)
	if err != nil {
		return notSQLite(err, `pg_restore --dbname="$AUTHD_DATABASE_URL" FILE, then authd key revoke`)
	}
	if _, err := p.masterKeys(); err != nil {
		return err
	}
	if err := checkBackup(p.args[0]); err != nil {
		return err
	}
	if err := p.refuseTarget(ctx, target); err != nil {
		return err
	}
	var copied database.Copied
	err = newFile(target, func(temp string) (err error) {
		if copied, err = database.Copy(ctx, database.Config{URL: "sqlite:" + p.args[0]}, temp); err != nil {
			return fmt.Errorf("the backup cannot be used: %w", err)
		}
		return p.renew(ctx, temp)
	})
	if err != nil {
		return err
	}
	return p.say("restored %d accounts from %s to %s; all tokens have ended. "+
		"Accounts are as they were at the backup: later changes, among them new passwords, disabled and deleted accounts, are lost",
		copied.Rows["users"], p.args[0], target)
}

// checkBackup refuses what is no single file.
func checkBackup(file string) error {
	info, err := os.Stat(file)
	if err != nil {
		return fmt.Errorf("the backup cannot be used: %w", err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("the backup cannot be used: %s is not a file", file)
	}
	if _, err := os.Stat(file + "-wal"); err == nil {
		return fmt.Errorf("%s is not a backup but a database: part of it is in %s-wal. Make a backup of it first: authd backup", file, file)
	}
	return nil
}

// refuseTarget refuses a database that exists, and says how it is used.
func (p *program) refuseTarget(ctx context.Context, target string) error {
	for _, suffix := range []string{"", "-wal", "-shm", "-journal"} {
		if _, err := os.Lstat(target + suffix); err != nil {
			continue
		}
		const way = `stop the node, move %[2]s and the files beside it (%[2]s-wal, %[2]s-shm) elsewhere, and restore again`
		used, err := database.InUse(ctx, p.config.Database)
		switch {
		case err == nil && used:
			return fmt.Errorf("%[1]s is in use by another process: "+way, target+suffix, target)
		case err == nil:
			return fmt.Errorf("%[1]s exists, %[3]s: "+way, target+suffix, target, p.content(ctx))
		default: // only a part of it, or no database
			return fmt.Errorf("%[1]s exists: "+way, target+suffix, target)
		}
	}
	return nil
}

// content describes an existing database for people.
func (p *program) content(ctx context.Context) string {
	db, err := database.OpenReadOnly(ctx, p.config.Database)
	if err != nil {
		return "and cannot be read"
	}
	defer db.Close()
	var n int64
	if err := db.QueryRow(ctx, "SELECT count(*) FROM users").Scan(&n); err != nil {
		return "and has no accounts"
	}
	return fmt.Sprintf("with %d accounts", n)
}

// renew makes a database of the copy of a backup: this program's schema, and no signing
// key, so that no token of before is good.
func (p *program) renew(ctx context.Context, file string) (err error) {
	c := p.config.Database
	c.URL = "sqlite:" + file
	defer func() { err = errors.Join(err, ignoreMissing(os.Remove(file+"-migrate"))) }()
	db, err := database.OpenExisting(ctx, c)
	if err != nil {
		return err //nolint:wrapcheck // says where
	}
	defer func() {
		err = errors.Join(err, db.Close())
		if _, lstat := os.Lstat(file + "-wal"); err == nil && lstat == nil {
			err = fmt.Errorf("%s-wal was left behind: the restored file is not complete", file)
		}
	}()
	if e, ok := errors.AsType[*database.SchemaError](db.CheckSchema(ctx, store.Migrations())); ok && (e.Newer || e.Have == 0) {
		return fmt.Errorf("the backup cannot be used: %w", e)
	}
	if _, err := db.Migrate(ctx, store.Migrations()); err != nil {
		return err //nolint:wrapcheck // says where
	}
	masters, err := p.masterKeys()
	if err != nil {
		return err
	}
	s, err := service.New(p.config.Auth.Config, service.Options{
		Store: store.New(db), MasterKey: masters.current, OldMasterKey: masters.old,
	})
	if err != nil {
		return err //nolint:wrapcheck // says where
	}
	if err := s.ForgetKeys(ctx, p.flags["--new-master-key"]); err != nil {
		return otherMasterKey(err)
	}
	return db.CheckIntegrity(ctx) //nolint:wrapcheck // says where
}

func otherMasterKey(err error) error {
	if errors.Is(err, service.ErrMasterKey) {
		return fmt.Errorf("the backup was made under another master key: %w; nothing was restored. "+
			"Set token.master_key to the one of that time, or token.old_master_key beside a newer one; if it is lost, add --new-master-key", err)
	}
	return err
}
