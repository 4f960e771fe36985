package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/chassi-go/chassi/auth/service"
	"github.com/chassi-go/chassi/config"
	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/ratelimit"
	"github.com/chassi-go/chassi/standard"
)

// Config is all that can be set.
type Config struct {
	standard.Config
	Auth

	SignUpRate  ratelimit.Limit `config:"sign_up_rate" default:"1000/1h" help:"sign-ups of one client address (IPv6: /64), with those that fail; off for no limit"`
	Database    database.Config `config:"database"`
	Hash        Hash            `config:"hash"`
	Idempotency Idempotency     `config:"idempotency"`
	MasterKey   config.Secret   `config:"token.master_key" help:"32 bytes in hex or base64 that encrypt the stored signing keys and secrets (openssl rand -hex 32); empty leaves them plain"`

	OldMasterKey config.Secret `config:"token.old_master_key" help:"the master key before this one, while it is being changed: see authd key rewrap"`
}

// Auth names the service's part; its settings have no word of their own in front.
type Auth struct{ service.Config }

// Hash bounds the password hashing.
type Hash struct {
	Workers int `config:"workers" default:"0" min:"0" max:"1024" help:"passwords hashed at once, each in argon2.memory; 0 is one for each core"`
	Queue   int `config:"queue" default:"0" min:"0" max:"100000" help:"logins that may wait for that; further ones get 503; 0 is sixteen for each worker; one client address (IPv6: /64) has half of workers and queue"`
}

// Idempotency is about sign-ups that are repeated with their Idempotency-Key.
type Idempotency struct {
	Keep  time.Duration `config:"keep" default:"24h" min:"1m" max:"720h" help:"how long the answer of a call with an Idempotency-Key is remembered"`
	Store string        `config:"store" default:"database" oneof:"database,redis" help:"where; redis is faster, and calls with a key fail while it is away"`
}

// program is one run of a command with its configuration.
type program struct {
	streams
	config Config
	report *config.Report
	args   []string
	flags  map[string]bool // those of the command itself, such as --yes
	reload func() (Config, *config.Report, error)
}

func newProgram(c command, args []string, s streams, environ []string) (*program, error) {
	args, flags := c.splitFlags(args)
	load := func() (Config, *config.Report, error) {
		var cfg Config
		report, err := config.Load(&cfg, config.Options{Name: "authd", Args: args, Environ: environ, File: "authd.yaml"})
		return cfg, report, err //nolint:wrapcheck // complete sentences
	}
	cfg, report, err := load()
	if err != nil {
		return nil, usageError{err}
	}
	p := &program{streams: s, config: cfg, report: report, args: report.Rest, flags: flags, reload: load}
	if err := p.checkArgs(c); err != nil {
		return nil, err
	}
	return p, nil
}

// splitFlags takes the command's own flags, which stand in brackets in c.args, out of args.
func (c command) splitFlags(args []string) (rest []string, flags map[string]bool) {
	flags = make(map[string]bool)
	own := strings.Fields(c.args)
	for _, arg := range args {
		if strings.HasPrefix(arg, "--") && slices.Contains(own, "["+arg+"]") {
			flags[arg] = true
		} else {
			rest = append(rest, arg)
		}
	}
	return rest, flags
}

// checkArgs holds the number of arguments against c.args, where [FILE] may be left out.
func (p *program) checkArgs(c command) error {
	least, most := 0, 0
	for word := range strings.FieldsSeq(c.args) {
		switch {
		case strings.HasPrefix(word, "[--"):
		case strings.HasPrefix(word, "["):
			most++
		default:
			least, most = least+1, most+1
		}
	}
	if n := len(p.args); n < least || n > most {
		err := fmt.Errorf("usage: %s; got %d", strings.TrimSpace("authd "+c.words+" "+c.args), n)
		if strings.HasPrefix(c.words, "user ") {
			err = fmt.Errorf("%w (a password is never an argument: it is prompted for, or read from stdin)", err)
		}
		return usageError{err}
	}
	return nil
}

func showConfig(_ context.Context, p *program) error {
	_, err := p.report.WriteTo(p.out)
	return err //nolint:wrapcheck // stdout's
}

func printHelp(w io.Writer) {
	fmt.Fprint(w, "authd is an auth service: e-mail and password in, token out; token in, e-mail out.\n\nUsage: authd COMMAND [--SETTING=VALUE ...]\n\n")
	for _, c := range commands() {
		args, _, _ := strings.Cut(c.args, "[--") // flags stand in the command's own help
		fmt.Fprintf(w, "  %-20s %s\n", strings.TrimSpace(c.words+" "+args), c.help)
	}
	fmt.Fprint(w, "\nSettings come from authd.yaml (or --config FILE), from AUTHD_ variables and from flags;\n\"authd serve --help\" lists them, \"authd config\" shows their values.\n")
}

func printCommandHelp(w io.Writer, c command) error {
	_, err := fmt.Fprintf(w, "authd %s %s\n\n  %s\n\nSettings:\n  --config  AUTHD_CONFIG\n        the configuration file (default authd.yaml, if there is one)\n", c.words, c.args, c.help)
	return errors.Join(err, config.Usage(w, &Config{}, "authd"))
}
