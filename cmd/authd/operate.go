package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/auth/store"
	"github.com/chassi-go/chassi/database"
)

func migrate(ctx context.Context, p *program) (err error) {
	db, err := database.Open(ctx, p.Config.Database)
	if err != nil {
		return err //nolint:wrapcheck // says where
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if _, err := db.Migrate(ctx, store.Migrations()); err != nil {
		return err //nolint:wrapcheck // says where
	}
	list, err := db.Migrations(ctx, store.Migrations())
	if err != nil {
		return err //nolint:wrapcheck // says where
	}
	for _, m := range list {
		if err := p.say("%s applied %s", m.Name, m.Applied.UTC().Format(time.RFC3339)); err != nil {
			return err
		}
	}
	return nil
}

// explain returns a service's error for an operator: its message and the invalid fields.
func explain(err error) error {
	var e *chassi.Error
	if !errors.As(err, &e) {
		return err
	}
	text := []string{e.Message}
	for _, v := range e.Violations {
		text = append(text, "the "+v.Field+" "+v.Message)
	}
	if e.Cause != nil && len(e.Violations) == 0 {
		return fmt.Errorf("%s: %w", e.Message, e.Cause)
	}
	return errors.New(strings.Join(text, "; "))
}
