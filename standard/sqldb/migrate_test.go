package sqldb_test

import (
	"bytes"
	"context"
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
