package sqldb_test

import (
	"context"
	"io"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/standard"
	"github.com/chassi-go/chassi/standard/sqldb"
)

// A URL that cannot be right ends the program with the code for an invalid configuration.
func TestInvalidSettings(t *testing.T) {
	t.Parallel()
	type settings struct {
		standard.Config

		Database database.Config `config:"database"`
	}
	p := standard.Program[settings]{Name: "orders", Setup: func(ctx context.Context, app *standard.App, c *settings) error {
		_, err := sqldb.Add(ctx, app, c.Database, fstest.MapFS{})
		return err
	}}
	for _, args := range [][]string{nil, {"--database.url=mysql://h/db"}, {"--database.url=sqlite:"}} {
		var stderr strings.Builder
		if code := p.Run(t.Context(), args, nil, os.Stdin, io.Discard, &stderr); code != standard.ExitUsage || !strings.Contains(stderr.String(), "the settings of the database: ") {
			t.Errorf("%v: exit %d: %s", args, code, stderr.String())
		}
	}
}
