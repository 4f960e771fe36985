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

// A URL that cannot be right ends the program with the code for an invalid configuration, and with
// the setting and its source.
func TestInvalidSettings(t *testing.T) {
	t.Parallel()
	type settings struct {
		standard.Config

		Database database.Config `config:"database"`
	}
	p := standard.Program[settings]{Name: "orders", Setup: func(ctx context.Context, app *standard.App, c *settings) error {
		_, err := sqldb.Add(ctx, app, c.Database, fstest.MapFS{})
		return err
	}, Commands: []standard.Command[settings]{sqldb.MigrateCommand(func(c *settings) database.Config { return c.Database }, fstest.MapFS{})}}
	for url, want := range map[string]string{
		"":                                    "orders: database.url is not set: ",
		"mysql://h/db":                        "orders: ORDERS_DATABASE_URL: database.url has the unknown scheme ",
		"sqlite:":                             "orders: ORDERS_DATABASE_URL: database.url: the path is missing",
		"postgres://u:canary@127.0.0.1:99999": "orders: ORDERS_DATABASE_URL: database.url cannot be used: a port ",
		"postgres://u:canary@h?sslmode=foo":   "orders: ORDERS_DATABASE_URL: database.url cannot be used: sslmode ",
	} {
		for _, command := range []string{"serve", "migrate"} {
			var stderr strings.Builder
			code := p.Run(t.Context(), []string{command}, []string{"ORDERS_DATABASE_URL=" + url}, os.Stdin, io.Discard, &stderr)
			if code != standard.ExitUsage || !strings.HasPrefix(stderr.String(), want) || strings.Contains(stderr.String(), "canary") {
				t.Errorf("%s, %q: exit %d: %s", command, url, code, stderr.String())
			}
		}
	}
}
