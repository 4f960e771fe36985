package sqldb_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/internal/dbtest"
	"github.com/chassi-go/chassi/standard"
	"github.com/chassi-go/chassi/standard/sqldb"
)

// The command applies the migrations of a program and lists them, again and again.
func TestMigrateCommand(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		type config struct {
			standard.Config

			Database database.Config `config:"database"`
		}
		migrations := fstest.MapFS{}
		for _, engine := range []string{"sqlite", "postgres"} {
			migrations[engine+"/00001_t.sql"] = &fstest.MapFile{Data: []byte("-- +goose Up\nCREATE TABLE t (n INTEGER);\n")}
		}
		p := standard.Program[config]{
			Name:     "test",
			Setup:    func(context.Context, *standard.App, *config) error { return nil },
			Commands: []standard.Command[config]{sqldb.MigrateCommand(func(c *config) database.Config { return c.Database }, migrations)},
		}
		p.Defaults.Database.URL = url
		for range 2 {
			var out bytes.Buffer
			if code := p.Run(t.Context(), []string{"migrate"}, nil, os.Stdin, &out, &out); code != standard.ExitOK || !strings.HasPrefix(out.String(), "00001_t.sql applied 2") {
				t.Errorf("code %d, %s", code, out.String())
			}
		}
		migrations["sqlite/00002_bad.sql"] = &fstest.MapFile{Data: []byte("-- +goose Up\nCREATE TABLE;\n")}
		migrations["postgres/00002_bad.sql"] = migrations["sqlite/00002_bad.sql"]
		var out bytes.Buffer
		if code := p.Run(t.Context(), []string{"migrate"}, nil, os.Stdin, &out, &out); code != standard.ExitFailed || !strings.Contains(out.String(), "00002_bad.sql") {
			t.Errorf("code %d, %s", code, out.String())
		}
	})
}

// A program does not start with a migration that its database would never get.
func TestStartWithUnappliedMigration(t *testing.T) {
	t.Parallel()
	both := []string{"00001_a.sql", "00002_b.sql"}
	file := &fstest.MapFile{Data: []byte("-- +goose Up\nSELECT 1;\n")}
	for name, c := range map[string]struct {
		applied, files []string
		want           string
	}{
		"two files with a number": {both, []string{"00001_a.sql", "00002_b.sql", "00002_c.sql"}, "00002_b.sql and 00002_c.sql"},
		"an applied number":       {both, []string{"00001_a.sql", "00002_c.sql"}, "00002_c.sql was not applied, because 00002_b.sql"},
		"pending below a newer":   {[]string{"00002_b.sql", "00005_f.sql"}, []string{"00002_b.sql", "00003_d.sql"}, "00003_d.sql has a lower number than 00005_f.sql"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := func(names ...string) fstest.MapFS {
				all := fstest.MapFS{}
				for _, name := range names {
					all["sqlite/"+name] = file
				}
				return all
			}
			url := dbtest.SQLite(t)
			db, err := database.Open(t.Context(), database.Config{URL: url})
			if err != nil {
				t.Fatal(err)
			}
			_, err = db.Migrate(t.Context(), files(c.applied...))
			if err := errors.Join(err, db.Close()); err != nil {
				t.Fatal(err)
			}
			settings := standard.Config{}
			settings.HTTP.Addr, settings.Admin.Addr = "127.0.0.1:0", "127.0.0.1:0"
			app, err := standard.New(t.Context(), "test", "1", settings, standard.Options{Log: io.Discard})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := sqldb.Add(t.Context(), app, database.Config{URL: url}, files(c.files...)); err != nil {
				t.Fatal(err)
			}
			if err := app.Run(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("err = %v, want %q", err, c.want)
			}
		})
	}
}
