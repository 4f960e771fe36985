package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/chassi-go/chassi/auth/service"
	"github.com/chassi-go/chassi/auth/store"
	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/standard"
)

// backup implements the command backup: it copies the SQLite database to a new file. The database
// may be in use, and may have the schema of another version of authd.
func backup(ctx context.Context, p *program) error {
	ctx, stop := untilInterrupted(ctx)
	defer stop()
	if _, err := database.File(p.Config.Database); err != nil {
		return notSQLite(err, `pg_dump --format=custom --file=FILE "$AUTHD_DATABASE_URL"`)
	}
	if err := p.requireSchema(ctx); err != nil {
		return err
	}
	var copied database.Copied
	err := newFile(p.Args[0], func(temp string) (err error) {
		copied, err = database.Copy(ctx, p.Config.Database, temp)
		return err //nolint:wrapcheck // says where
	})
	if err != nil {
		return err
	}
	return p.say("backed up %d accounts as of %s to %s", copied.Rows["users"], copied.At.UTC().Format(time.RFC3339Nano), p.Args[0])
}

// requireSchema returns an error if the database cannot be read or was never migrated by authd. It
// accepts the schema of another version, for backups before an update.
func (p *program) requireSchema(ctx context.Context) (err error) {
	db, err := database.OpenReadOnly(ctx, p.Config.Database)
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

// notSQLite returns err as a usage error. If err means that the database is not SQLite, the usage
// error names tool, the corresponding command for PostgreSQL.
func notSQLite(err error, tool string) error {
	if errors.Is(err, database.ErrNotSQLite) {
		err = fmt.Errorf("database.url is not a SQLite file; authd copies only SQLite files; for PostgreSQL use %s (see docs/operations.md)", tool)
	}
	return standard.UsageError{Err: err}
}

// restore implements the command restore: it creates the database from a backup. It works on a
// temporary file, so that an error leaves no incomplete database.
func restore(ctx context.Context, p *program) error {
	ctx, stop := untilInterrupted(ctx)
	defer stop()
	target, err := database.File(p.Config.Database)
	if err != nil {
		return notSQLite(err, `pg_restore --dbname="$AUTHD_DATABASE_URL" FILE, then authd key revoke`)
	}
	if _, err := p.Config.masterKeys(); err != nil {
		return err
	}
	if err := checkBackup(p.Args[0]); err != nil {
		return err
	}
	if err := p.refuseTarget(ctx, target); err != nil {
		return err
	}
	var copied database.Copied
	err = newFile(target, func(temp string) (err error) {
		if copied, err = database.Copy(ctx, database.Config{URL: "sqlite:" + p.Args[0]}, temp); err != nil {
			return fmt.Errorf("copy the backup %s: %w", p.Args[0], err)
		}
		return p.renew(ctx, temp)
	})
	if err != nil {
		return err
	}
	return p.say("restored %d accounts from %s to %s; all tokens have ended. "+
		"Accounts are as they were at the backup: later changes, among them new passwords, disabled and deleted accounts, are lost",
		copied.Rows["users"], p.Args[0], target)
}

// checkBackup returns an error unless file, the backup, is a regular file without a write-ahead log
// beside it.
func checkBackup(file string) error {
	info, err := os.Stat(file)
	if err != nil {
		return fmt.Errorf("the backup cannot be used: %w", err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("the backup cannot be used: %s is not a regular file", file)
	}
	if _, err := os.Stat(file + "-wal"); err == nil {
		return fmt.Errorf("%s is a database in use and not a backup: part of its data is in %s-wal; create a backup with authd backup", file, file)
	}
	return nil
}

// refuseTarget returns an error if any file of the database at target exists. The error reports
// whether the database is in use and, if not, what the database contains, unless that is unknown.
func (p *program) refuseTarget(ctx context.Context, target string) error {
	for _, suffix := range []string{"", "-wal", "-shm", "-journal"} {
		if _, err := os.Lstat(target + suffix); err != nil {
			continue
		}
		const way = `stop the node, move %[2]s and the files beside it (%[2]s-wal, %[2]s-shm) elsewhere, and restore again`
		used, err := database.InUse(ctx, p.Config.Database)
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

// content returns a description of the content of an existing database.
func (p *program) content(ctx context.Context) string {
	db, err := database.OpenReadOnly(ctx, p.Config.Database)
	if err != nil {
		return "and cannot be read"
	}
	defer db.Close()
	var n int64
	if err := db.QueryRow(ctx, "SELECT count(*) FROM users").Scan(&n); err != nil {
		return "and has no readable accounts"
	}
	return fmt.Sprintf("with %d accounts", n)
}

// renew turns file, the copy of a backup, into a usable database: it migrates the schema and
// deletes the signing keys, so that no earlier token is valid. It returns an error if the copy is
// damaged, was not written by authd, has the schema of a newer version or, without the flag
// --new-master-key, is encrypted with a master key that is not configured.
func (p *program) renew(ctx context.Context, file string) (err error) {
	c := p.Config.Database
	c.URL = "sqlite:" + file
	db, err := database.OpenExisting(ctx, c)
	if err != nil {
		return err //nolint:wrapcheck // says where
	}
	defer func() {
		err = errors.Join(err, db.Close())
		if _, lstat := os.Lstat(file + "-wal"); err == nil && lstat == nil {
			err = fmt.Errorf("%s-wal still exists, so the restored file is incomplete", file)
		}
	}()
	if e, ok := errors.AsType[*database.SchemaError](db.CheckSchema(ctx, store.Migrations())); ok && (e.Newer || e.Have == 0) {
		return fmt.Errorf("the backup cannot be used: %w", e)
	}
	if _, err := db.Migrate(ctx, store.Migrations()); err != nil {
		return err //nolint:wrapcheck // says where
	}
	masters, err := p.Config.masterKeys()
	if err != nil {
		return err
	}
	s, err := service.New(p.Config.Auth.Config, service.Options{
		Store: store.New(db), MasterKey: masters.current, OldMasterKey: masters.old,
	})
	if err != nil {
		return err //nolint:wrapcheck // says where
	}
	if err := s.DeleteKeys(ctx, p.Flags["--new-master-key"]); err != nil {
		return otherMasterKey(err)
	}
	return db.CheckIntegrity(ctx) //nolint:wrapcheck // says where
}

func otherMasterKey(err error) error {
	if errors.Is(err, service.ErrMasterKey) {
		return fmt.Errorf("the backup cannot be used: %w; nothing was restored. "+
			"Set token.master_key, or token.old_master_key beside a newer master key, to the master key of the backup; "+
			"if that is lost, add --new-master-key", err)
	}
	return err
}
