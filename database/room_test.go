package database

import (
	"net/url"
	"strings"
	"testing"

	"github.com/chassi-go/chassi/internal/dbtest"
)

// A pool that is larger than what PostgreSQL lets this program open is found, with the
// limit that is too low.
func TestCheckRoom(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, address string) {
		check := func(maxOpen int) error {
			db, err := Open(t.Context(), Config{URL: address, MaxOpen: maxOpen})
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			return db.CheckRoom(t.Context())
		}
		if err := check(2); err != nil {
			t.Errorf("2 connections: %v", err)
		}
		if strings.HasPrefix(address, "sqlite:") {
			if err := check(1000); err != nil {
				t.Errorf("SQLite: %v", err)
			}
			return
		}
		if err := check(1000); err == nil || !strings.Contains(err.Error(), "(max_connections)") || !strings.Contains(err.Error(), "max_open is 1000") {
			t.Errorf("1000 connections: %v", err)
		}
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		db, err := Open(t.Context(), Config{URL: address, MaxOpen: 1, MaxIdle: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.Exec(t.Context(), "ALTER DATABASE "+u.Path[1:]+" CONNECTION LIMIT 3"); err != nil {
			t.Fatal(err)
		}
		if err := check(2); err != nil { // one of 3 is db's
			t.Errorf("2 of 3 connections: %v", err)
		}
		if err := check(3); err == nil || !strings.Contains(err.Error(), "open 3 connections (the database's CONNECTION LIMIT), others have 1 open now") {
			t.Errorf("3 of 3 connections with one in use: %v", err)
		}
	})
}
