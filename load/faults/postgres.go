package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	_ "github.com/chassi-go/chassi/database" // its driver "pgx"
)

// postgres is the database of a cell and the role that owns it.
type postgres struct {
	admin *sql.DB
	name  string // name of the database and of the role
}

func (s *servers) newPostgres(ctx context.Context, name string) (*postgres, error) {
	admin, err := sql.Open("pgx", s.postgres.String())
	if err != nil {
		return nil, fmt.Errorf("PostgreSQL at CHASSI_TEST_POSTGRES: %w", err)
	}
	p := &postgres{admin, name}
	if err := p.exec(ctx, fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD '%s'", name, secret), fmt.Sprintf("CREATE DATABASE %s OWNER %s", name, name)); err != nil {
		return nil, errors.Join(err, p.drop())
	}
	return p, nil
}

func (p *postgres) exec(ctx context.Context, statements ...string) error {
	return execAll(ctx, p.admin, statements)
}

func execAll(ctx context.Context, db *sql.DB, statements []string) error {
	for _, text := range statements {
		if _, err := db.ExecContext(ctx, text); err != nil {
			return fmt.Errorf("PostgreSQL: %w", err)
		}
	}
	return nil
}

// disconnect closes all connections to the database.
func (p *postgres) disconnect(ctx context.Context) error {
	return p.exec(ctx, fmt.Sprintf("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '%s'", p.name))
}

func (p *postgres) drop() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return errors.Join(p.exec(ctx, fmt.Sprintf("DROP DATABASE IF EXISTS %s WITH (FORCE)", p.name), "DROP ROLE IF EXISTS "+p.name), p.admin.Close())
}

// fill makes inserts and updates in all tables of the database at url fail with the error of a
// server whose disk is full.
func (p *postgres) fill(ctx context.Context, url string) error {
	return p.onTables(ctx, url, []string{`CREATE FUNCTION faults_full() RETURNS trigger LANGUAGE plpgsql AS
		'BEGIN RAISE EXCEPTION ''could not extend file: No space left on device'' USING ERRCODE = ''disk_full''; END'`},
		"CREATE TRIGGER faults_full BEFORE INSERT OR UPDATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION faults_full()", nil)
}

// empty reverts the changes that fill made to the database at url.
func (p *postgres) empty(ctx context.Context, url string) error {
	return p.onTables(ctx, url, nil, "DROP TRIGGER faults_full ON %s", []string{"DROP FUNCTION faults_full()"})
}

// onTables runs statements in the database at url: first those in before, then format with the name
// of each table, and then those in after. Each statement is a separate transaction,
// so that a concurrent call waits for at most one of them.
func (p *postgres) onTables(ctx context.Context, url string, before []string, format string, after []string) error {
	db, err := sql.Open("pgx", url)
	if err != nil {
		return err
	}
	defer db.Close()
	var names string
	query := "SELECT string_agg(quote_ident(tablename), ' ' ORDER BY tablename) FROM pg_tables WHERE schemaname = 'public'"
	if err := db.QueryRowContext(ctx, query).Scan(&names); err != nil {
		return fmt.Errorf("PostgreSQL: %w", err)
	}
	for table := range strings.FieldsSeq(names) {
		before = append(before, fmt.Sprintf(format, table))
	}
	return execAll(ctx, db, append(before, after...))
}
