package sqldb_test

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
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

// A start that fails because a port is taken leaves no database behind.
func TestFailedStartCreatesNoDatabase(t *testing.T) {
	t.Parallel()
	type settings struct {
		standard.Config

		Database database.Config `config:"database"`
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir := t.TempDir()
	p := standard.Program[settings]{Name: "orders", Setup: func(ctx context.Context, app *standard.App, c *settings) error {
		_, err := sqldb.Add(ctx, app, c.Database, fstest.MapFS{})
		app.Listens(standard.Listener{Name: "raw", Setting: "raw.addr", Addr: taken.Addr().String()})
		return err
	}}
	var stderr strings.Builder
	args := []string{"--database.url=sqlite:" + filepath.Join(dir, "orders.db"), "--admin.addr=127.0.0.1:0", "--http.addr=" + taken.Addr().String()}
	code := p.Run(t.Context(), args, nil, os.Stdin, io.Discard, &stderr)
	if code != standard.ExitFailed || !strings.Contains(stderr.String(), "http.addr (") || !strings.Contains(stderr.String(), "raw.addr (") {
		t.Errorf("exit %d: %s", code, stderr.String())
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}
