package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/chassi-go/chassi/internal/dbtest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSeed(t *testing.T) {
	t.Parallel()
	url := dbtest.SQLite(t)
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--database", url, "--users", "30"}, 0, "30 accounts added to 0 in "},
		{[]string{"--database", url, "--users", "50"}, 0, "20 accounts added to 30 in "},
		{[]string{"--database", url, "--users", "40"}, 0, "0 accounts added to 50 in "},
		{[]string{"--database", url, "--users", "60", "--password", "another"}, 2, "another password"},
		{[]string{"--database", url, "--users", "0"}, 2, "users is 0"},
		{[]string{"--database", "mysql://host"}, 2, "unknown scheme"},
		{[]string{"--databse", url}, 2, "unknown flag --databse; --help lists the flags"},
		{[]string{"stray"}, 2, `"stray" is not a flag`},
		{[]string{"--help"}, 0, "-users"},
	} {
		var out bytes.Buffer
		if code := run(t.Context(), c.args, &out); code != c.code || !strings.Contains(out.String(), c.want) {
			t.Errorf("%q: exit %d, %q, want %d, %q", c.args, code, out.String(), c.code, c.want)
		}
	}
}
