package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/chassi-go/chassi/auth/service"
	"github.com/chassi-go/chassi/auth/store"
	"golang.org/x/term"
)

func userAdd(ctx context.Context, p *program) error {
	password, err := p.readPassword(true)
	if err != nil {
		return err
	}
	return p.withService(ctx, func(ctx context.Context, s *service.Service) error {
		email, err := s.AddUser(ctx, p.args[0], password)
		if err != nil {
			return friendly(p.args[0], err)
		}
		return p.say("added %s", email)
	})
}

func userPasswd(ctx context.Context, p *program) error {
	password, err := p.readPassword(true)
	if err != nil {
		return err
	}
	return p.withService(ctx, func(ctx context.Context, s *service.Service) error {
		if err := s.SetPassword(ctx, p.args[0], password); err != nil {
			return friendly(p.args[0], err)
		}
		return p.say("password set for %s; its tokens have ended", p.args[0])
	})
}

func userDisable(ctx context.Context, p *program) error { return p.setDisabled(ctx, true, "disabled") }

func userEnable(ctx context.Context, p *program) error { return p.setDisabled(ctx, false, "enabled") }

func (p *program) setDisabled(ctx context.Context, disabled bool, done string) error {
	return p.withService(ctx, func(ctx context.Context, s *service.Service) error {
		if err := s.SetDisabled(ctx, p.args[0], disabled); err != nil {
			return friendly(p.args[0], err)
		}
		return p.say("%s %s", done, p.args[0])
	})
}

func userList(ctx context.Context, p *program) error {
	return p.withReader(ctx, func(ctx context.Context, s *service.Service) error {
		table := tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "EMAIL\tID\tSTATE\tCREATED")
		for after := ""; ; {
			users, err := s.Users(ctx, after, 500)
			if err != nil {
				return err //nolint:wrapcheck // says where
			}
			for _, u := range users {
				state := "active"
				if u.Disabled {
					state = "disabled"
				}
				fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", u.Email, u.ID, state, u.CreatedAt.Format(time.RFC3339))
				after = u.Email
			}
			if err := table.Flush(); err != nil || len(users) == 0 { // page by page: it holds what is not flushed
				return err //nolint:wrapcheck // stdout's
			}
		}
	})
}

// userDelete asks before it deletes.
func userDelete(ctx context.Context, p *program) error {
	return p.withService(ctx, func(ctx context.Context, s *service.Service) error {
		if err := p.confirm("delete the account " + p.args[0] + " and everything that belongs to it"); err != nil {
			return err
		}
		if err := s.DeleteUser(ctx, p.args[0]); err != nil {
			return friendly(p.args[0], err)
		}
		return p.say("deleted %s; its tokens end within a second", p.args[0])
	})
}

// friendly tells an operator what an API caller is not told.
func friendly(address string, err error) error {
	switch {
	case errors.Is(err, store.ErrEmailTaken):
		return fmt.Errorf("there is an account with the address %s already", address)
	case errors.Is(err, store.ErrNotFound):
		return fmt.Errorf("there is no account with the address %s", address)
	default:
		return explain(err)
	}
}

func (p *program) say(format string, args ...any) error {
	_, err := fmt.Fprintf(p.out, format+"\n", args...)
	return err //nolint:wrapcheck // stdout's
}

// maxPassword bounds what is read from stdin; the policy has its own bound.
const maxPassword = 64 << 10

// readPassword prompts on a terminal, twice if asked to; otherwise it takes the
// first line of stdin.
func (p *program) readPassword(twice bool) (string, error) {
	if !term.IsTerminal(int(p.in.Fd())) {
		return firstLine(p.in)
	}
	password, err := p.prompt("Password: ")
	if err != nil || !twice {
		return password, err
	}
	again, err := p.prompt("Again: ")
	if err == nil && again != password {
		err = errors.New("the two passwords differ; nothing was changed")
	}
	return password, err
}

func (p *program) prompt(text string) (string, error) {
	fmt.Fprint(p.err, text)
	typed, err := term.ReadPassword(int(p.in.Fd()))
	fmt.Fprintln(p.err)
	if err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	return string(typed), nil
}

func firstLine(r io.Reader) (string, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxPassword))
	if err != nil {
		return "", fmt.Errorf("read the password from stdin: %w", err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	if line = strings.TrimSuffix(line, "\r"); line == "" {
		return "", errors.New("no password on stdin: write it on one line, as in: authd user add EMAIL < password.txt")
	}
	return line, nil
}
