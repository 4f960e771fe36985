package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/chassi-go/chassi/auth/service"
)

// exported is an account in the format of the export, which has one JSON object per line.
type exported struct {
	ID           string    `json:"id"`
	Email        string    `json:"email"`
	CreatedAt    time.Time `json:"created_at"`
	Disabled     bool      `json:"disabled"`
	PasswordHash string    `json:"password_hash,omitempty"` // PHC string format
}

// exportPage is the maximum number of accounts that an export reads at once and holds in memory.
const exportPage = 500

// export implements the command export: it writes the accounts, sorted by address, as JSON lines.
// An account that exists for the whole duration of the export is written exactly once.
func export(ctx context.Context, p *program) error {
	ctx, stop := untilInterrupted(ctx)
	defer stop()
	return p.withReader(ctx, func(ctx context.Context, s *service.Service) error {
		to, n := "stdout", 0
		var err error
		if len(p.Args) == 0 {
			n, err = p.exportTo(ctx, s, p.Out)
		} else {
			to = p.Args[0]
			err = newFile(to, func(temp string) (err error) {
				n, err = p.exportFile(ctx, s, temp)
				return err
			})
		}
		if err != nil {
			return err
		}
		note := ", with their password hashes: keep it as secret as the database"
		if p.Flags["--no-passwords"] {
			note = ""
		}
		_, err = fmt.Fprintf(p.Err, "authd: exported %d accounts to %s%s\n", n, to, note)
		return err //nolint:wrapcheck // stderr's
	})
}

func (p *program) exportFile(ctx context.Context, s *service.Service, path string) (int, error) {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return 0, err //nolint:wrapcheck // names the path
	}
	n, err := p.exportTo(ctx, s, f)
	if closed := f.Close(); err == nil {
		err = closed
	}
	return n, err
}

func (p *program) exportTo(ctx context.Context, s *service.Service, w io.Writer) (n int, err error) {
	out := bufio.NewWriter(w)
	lines := json.NewEncoder(out)
	for after := ""; ; {
		users, err := s.Users(ctx, after, exportPage)
		if err != nil {
			return n, err //nolint:wrapcheck // says where
		}
		for _, u := range users {
			line := exported{ID: u.ID, Email: u.Email, CreatedAt: u.CreatedAt, Disabled: u.Disabled, PasswordHash: u.Password}
			if p.Flags["--no-passwords"] {
				line.PasswordHash = ""
			}
			if err := lines.Encode(line); err != nil {
				return n, err //nolint:wrapcheck // names the file
			}
			after = u.Email
			n++
		}
		if len(users) < exportPage {
			return n, out.Flush() //nolint:wrapcheck // names the file
		}
	}
}
