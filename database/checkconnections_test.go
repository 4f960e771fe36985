package database

import (
	"net/url"
	"strings"
	"testing"

	"github.com/chassi-go/chassi/internal/dbtest"
)

// CheckConnections returns an error that names the limit if the pool is larger than PostgreSQL permits.
func TestCheckConnections(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, address string) {
		check := func(maxOpen int) error {
			db, err := Open(t.Context(), Config{URL: address, MaxOpen: maxOpen})
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			return db.CheckConnections(t.Context())
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
		if err := check(1000); err == nil || !strings.Contains(err.Error(), "(max_connections minus superuser_reserved_connections)") || !strings.Contains(err.Error(), "and database.max_connections is 1000") {
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
		// The server may still have the connection of the check before.
		if err := check(3); err == nil || !strings.Contains(err.Error(), "permits 3 connections (the database's CONNECTION LIMIT), other programs have ") {
			t.Errorf("3 of 3 connections with one in use: %v", err)
		}
	})
}
