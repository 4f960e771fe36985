package service

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/chassi-go/chassi/auth/store"
	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/internal/dbtest"
	"github.com/chassi-go/chassi/password"
)

// What is to be tidied besides is, at the service's time.
func TestTidyDoesWhatItIsGiven(t *testing.T) {
	t.Parallel()
	db, err := database.Open(t.Context(), database.Config{URL: dbtest.SQLite(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Migrate(t.Context(), store.Migrations()); err != nil {
		t.Fatal(err)
	}
	now, failed := time.Unix(1<<30, 0), errors.New("a job that failed")
	var told time.Time
	s, err := New(Config{Password: password.DefaultParams()}, Options{
		Store: store.New(db), Now: func() time.Time { return now },
		Tidy: func(_ context.Context, at time.Time) error { told = at; return failed },
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.tidy(t.Context()); !errors.Is(err, failed) || !told.Equal(now) {
		t.Errorf("%v at %v, want %v at %v", err, told, failed, now)
	}
}
