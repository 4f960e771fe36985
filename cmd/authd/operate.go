package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/auth/service"
	"github.com/chassi-go/chassi/auth/store"
	"github.com/chassi-go/chassi/database"
)

func migrate(ctx context.Context, p *program) (err error) {
	db, err := database.Open(ctx, p.config.Database)
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

func keyList(ctx context.Context, p *program) error {
	return p.withService(ctx, func(ctx context.Context, s *service.Service) error {
		keys, err := s.Keys(ctx)
		if err != nil {
			return err //nolint:wrapcheck // says where
		}
		table := tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "KID\tALGORITHM\tENCRYPTED\tSIGNS FROM\tVERIFIES UNTIL")
		for _, k := range keys {
			until := "-"
			if !k.ExpiresAt.IsZero() {
				until = k.ExpiresAt.Format(time.RFC3339)
			}
			fmt.Fprintf(table, "%s\t%s\t%t\t%s\t%s\n", k.ID, k.Algorithm, k.Sealed, k.ActiveAt.Format(time.RFC3339), until)
		}
		return table.Flush() //nolint:wrapcheck // stdout's
	})
}

func keyRotate(ctx context.Context, p *program) error { return p.rotate(ctx, false) }

func keyRevoke(ctx context.Context, p *program) error { return p.rotate(ctx, true) }

func (p *program) rotate(ctx context.Context, revoke bool) error {
	return p.withService(ctx, func(ctx context.Context, s *service.Service) error {
		k, err := s.RotateKey(ctx, revoke)
		if err != nil {
			return err //nolint:wrapcheck // says where
		}
		if revoke {
			return p.say("%s signs now; all older keys and their tokens have ended, on every node within seconds", k.ID)
		}
		return p.say("%s signs from %s; older keys verify until their tokens have expired", k.ID, k.ActiveAt.Format(time.RFC3339))
	})
}

// explain writes a service's error for an operator: its message, and what is
// wrong with which field.
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
