// Command authd is an auth service: e-mail and password in, token out; token in,
// e-mail out. Run "authd --help".
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"

	"github.com/chassi-go/chassi"
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr}, os.Environ()))
}

// streams are a program's three files.
type streams struct {
	in       *os.File
	out, err io.Writer
}

// command is one thing that authd does.
type command struct {
	words string // as typed: "user add"
	args  string // behind it: "EMAIL", "[FILE]" if it may be left out, and flags of its own: "[--yes]"
	help  string
	run   func(ctx context.Context, p *program) error
}

func commands() []command {
	return []command{
		{"serve", "", "serve until SIGTERM or Ctrl-C", serve},
		{"migrate", "", "bring the database's schema up to date and list its migrations", migrate},
		{"user add", "EMAIL", "make an account; the password comes from a prompt or from stdin", userAdd},
		{"user list", "", "list the accounts", userList},
		{"user disable", "EMAIL", "disable an account and end its tokens", userDisable},
		{"user enable", "EMAIL", "enable a disabled account", userEnable},
		{"user passwd", "EMAIL", "set an account's password and end its tokens", userPasswd},
		{"user delete", "EMAIL [--yes]", "delete an account with all that belongs to it and end its tokens", userDelete},
		{"key list", "", "list the signing keys", keyList},
		{"key rotate", "", "make a new signing key; old ones verify until their tokens have expired", keyRotate},
		{"key revoke", "", "make a new signing key and end all others, with all tokens, at once", keyRevoke},
		{"key rewrap", "", "encrypt the stored signing keys with token.master_key, see docs/operations.md", keyRewrap},
		{"key reset", "[--yes]", "the master key is lost: make a new signing key and end all tokens", keyReset},
		{"nats add", "NAME", "let a client called NAME connect to the NATS server in authd, and create its key", natsAdd},
		{"nats list", "", "list the clients of that server and their public keys", natsList},
		{"nats remove", "NAME", "remove a client of that server; a running authd closes its connections", natsRemove},
		{"backup", "FILE", "copy the SQLite database, which may be in use, to a new file", backup},
		{"restore", "FILE [--new-master-key]", "make the database anew from a backup, and end all tokens", restore},
		{"export", "[FILE] [--no-passwords]", "write the accounts as JSON lines, to stdout or to a new file", export},
		{"config", "", "show every setting, its value and where it comes from", showConfig},
		{"schema", "openapi|proto|asyncapi", "print the contract of the service", showSchema},
		{"healthcheck", "", "ask the running service whether it is ready; exit 0 or 1", healthcheck},
		{"licenses", "", "print the licences of everything that is linked into authd", showLicenses},
		{"version", "", "show the version", showVersion},
	}
}

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2 // wrong command, flag or configuration; nothing was done
	exitForced = 3 // stopped at once by a second signal
)

// usageError is a mistake of whoever typed the command.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func run(ctx context.Context, args []string, s streams, environ []string) int {
	c, rest, err := find(args)
	if err == nil && c == nil {
		printHelp(s.out)
		return exitOK
	}
	if err == nil && wantsHelp(rest) {
		err = printCommandHelp(s.out, *c)
		rest, c = nil, nil
	}
	if c != nil && err == nil {
		var p *program
		if p, err = newProgram(*c, rest, s, environ); err == nil {
			err = c.run(ctx, p)
		}
	}
	return report(s.err, err)
}

func report(w io.Writer, err error) int {
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, chassi.ErrForced):
		return exitForced
	case errors.As(err, &usage):
		fmt.Fprintf(w, "authd: %s\n", strings.ReplaceAll(err.Error(), "\n", "\nauthd: "))
		return exitUsage
	default:
		fmt.Fprintf(w, "authd: %s\n", err)
		return exitFailed
	}
}

// find returns the command that args begin with, nil for a call for help.
func find(args []string) (*command, []string, error) {
	if len(args) == 0 || args[0] == "--help" || args[0] == "-h" || args[0] == "help" {
		return nil, nil, nil
	}
	if args[0] == "--version" {
		args = []string{"version"}
	}
	list := commands()
	for i := range list {
		words := strings.Fields(list[i].words)
		if len(args) >= len(words) && strings.Join(args[:len(words)], " ") == list[i].words {
			return &list[i], args[len(words):], nil
		}
	}
	return nil, nil, usageError{fmt.Errorf("%q is no command; authd --help lists them", args[0])}
}

func wantsHelp(args []string) bool {
	for _, arg := range args {
		if arg == "--help" || arg == "-h" {
			return true
		}
	}
	return false
}

func showVersion(_ context.Context, p *program) error {
	_, err := fmt.Fprintln(p.out, version())
	return err //nolint:wrapcheck // stdout's
}

// version is the module's, or the commit that it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return "devel"
}
