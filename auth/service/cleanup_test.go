package service

import (
	"context"
	"errors"
	"testing"

	"github.com/chassi-go/chassi/auth/store"
	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/internal/dbtest"
	"github.com/chassi-go/chassi/password"
)

// cleanUp calls Options.CleanUp and returns its error.
func TestCleanUpCallsTheOption(t *testing.T) {
	t.Parallel()
	db, err := database.Open(t.Context(), database.Config{URL: dbtest.SQLite(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Migrate(t.Context(), store.Migrations()); err != nil {
		t.Fatal(err)
	}
	failed, ran := errors.New("a job that failed"), false
	s, err := New(Config{Password: password.DefaultParams()}, Options{
		Store:   store.New(db),
		CleanUp: func(context.Context) error { ran = true; return failed },
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cleanUp(t.Context()); !errors.Is(err, failed) || !ran {
		t.Errorf("%v, want %v; it ran: %t", err, failed, ran)
	}
}
