package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/term"

	"github.com/chassi-go/chassi/auth/service"
	"github.com/chassi-go/chassi/auth/store"
)

func userAdd(ctx context.Context, p *program) error {
	password, err := p.readPassword(true)
	if err != nil {
		return err
	}
	return p.withService(ctx, func(ctx context.Context, s *service.Service) error {
		email, err := s.AddUser(ctx, p.Args[0], password)
		if err != nil {
			return friendly(p.Args[0], err)
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
		if err := s.SetPassword(ctx, p.Args[0], password); err != nil {
			return friendly(p.Args[0], err)
		}
		return p.say("password set for %s; its tokens have ended", p.Args[0])
	})
}

func userDisable(ctx context.Context, p *program) error { return p.setDisabled(ctx, true, "disabled") }

func userEnable(ctx context.Context, p *program) error { return p.setDisabled(ctx, false, "enabled") }

func (p *program) setDisabled(ctx context.Context, disabled bool, done string) error {
	return p.withService(ctx, func(ctx context.Context, s *service.Service) error {
		if err := s.SetDisabled(ctx, p.Args[0], disabled); err != nil {
			return friendly(p.Args[0], err)
		}
		return p.say("%s %s", done, p.Args[0])
	})
}

func userList(ctx context.Context, p *program) error {
	return p.withReader(ctx, func(ctx context.Context, s *service.Service) error {
		table := tabwriter.NewWriter(p.Out, 0, 0, 2, ' ', 0)
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
			if err := table.Flush(); err != nil || len(users) == 0 { // flush each page to bound the memory
				return err //nolint:wrapcheck // stdout's
			}
		}
	})
}

// userDelete implements the command user delete: it asks for confirmation and deletes an account.
func userDelete(ctx context.Context, p *program) error {
	return p.withService(ctx, func(ctx context.Context, s *service.Service) error {
		if err := p.confirm("delete the account " + p.Args[0] + " and everything that belongs to it"); err != nil {
			return err
		}
		if err := s.DeleteUser(ctx, p.Args[0]); err != nil {
			return friendly(p.Args[0], err)
		}
		return p.say("deleted %s; its tokens end within a second", p.Args[0])
	})
}

// friendly returns err in a form for operators. The returned error may contain details that clients
// of the API do not get.
func friendly(address string, err error) error {
	switch {
	case errors.Is(err, store.ErrEmailTaken):
		return fmt.Errorf("an account with the address %s already exists", address)
	case errors.Is(err, store.ErrNotFound):
		return fmt.Errorf("no account has the address %s", address)
	default:
		return explain(err)
	}
}

func (p *program) say(format string, args ...any) error {
	_, err := fmt.Fprintf(p.Out, format+"\n", args...)
	return err //nolint:wrapcheck // stdout's
}

// maxPassword is the maximum number of bytes read from stdin. The password policy has a separate
// limit.
const maxPassword = 64 << 10

// readPassword returns a password. On a terminal it prompts for the password and, if twice is true,
// prompts again and returns an error if the two differ. Without a terminal it reads the first line
// of stdin.
func (p *program) readPassword(twice bool) (string, error) {
	if !term.IsTerminal(int(p.In.Fd())) {
		return firstLine(p.In)
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
	fmt.Fprint(p.Err, text)
	typed, err := term.ReadPassword(int(p.In.Fd()))
	fmt.Fprintln(p.Err)
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
		return "", errors.New("no password in the first line of stdin: write it there, as in: authd user passwd EMAIL < password.txt")
	}
	return line, nil
}
