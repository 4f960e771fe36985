package database

import (
	"os"
	"strings"
	"testing"

	"github.com/chassi-go/chassi/internal/dbtest"
)

// Nothing is written to, or read from, a file that its path no longer names.
func TestFileThatIsNoLongerThere(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		put  func(path string) error // something in the place of the file
		want string
	}{
		"deleted or moved": {func(string) error { return nil }, "was deleted or moved while in use"},
		"replaced":         {func(path string) error { return os.WriteFile(path, nil, 0o600) }, "was replaced while in use"},
	} {
		url := dbtest.SQLite(t)
		path := strings.TrimPrefix(url, "sqlite:")
		db := counters(t, Config{URL: url})
		if err := os.Rename(path, path+".away"); err != nil {
			t.Fatal(err)
		}
		if err := c.put(path); err != nil {
			t.Fatal(err)
		}
		_, write := db.Exec(t.Context(), "UPDATE counters SET n = 7")
		var n int64
		for what, err := range map[string]error{
			"Check": db.Check(t.Context()), "Exec": write, "Query": db.QueryRow(t.Context(), "SELECT n FROM counters").Scan(&n),
			"Read": db.Read(t.Context(), increment), "WriteRelaxed": db.WriteRelaxed(t.Context(), increment),
		} {
			if !IsUnavailable(err) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s, %s: %v", name, what, err)
			}
		}
		if err := os.Rename(path+".away", path); err != nil {
			t.Fatal(err)
		}
		if err := db.Check(t.Context()); err != nil {
			t.Errorf("%s, put back: %v", name, err)
		}
		mustExec(t, db, "UPDATE counters SET n = 8")
	}
}
