// Command authd is an auth service. It issues tokens for e-mail addresses and passwords, and
// validates tokens. Run "authd --help" for its commands.
package main

import (
	"context"

	"github.com/chassi-go/chassi/auth/store"
	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/standard"
	"github.com/chassi-go/chassi/standard/sqldb"
	"github.com/chassi-go/chassi/telemetry/exporters"
)

func main() { newProgram().Main() }

func newProgram() standard.Program[Config] {
	return standard.Program[Config]{
		Name:           "authd",
		Help:           "authd is an auth service: e-mail and password in, token out; token in, e-mail out.",
		Defaults:       Config{Database: database.Config{URL: "sqlite:authd.db"}},
		Setup:          setup,
		About:          about,
		TraceExporters: exporters.All(),
		Commands: []standard.Command[Config]{
			sqldb.MigrateCommand(func(c *Config) database.Config { return c.Database }, store.Migrations()),
			command("user add", "EMAIL", ofAccounts, "create an account; the password comes from a prompt or from stdin", userAdd),
			command("user list", "", ofKeys, "list the accounts", userList),
			command("user disable", "EMAIL", ofAccounts, "disable an account and end its tokens", userDisable),
			command("user enable", "EMAIL", ofAccounts, "enable a disabled account", userEnable),
			command("user passwd", "EMAIL", ofAccounts, "set an account's password, which comes from a prompt or from stdin, and end its tokens", userPasswd),
			command("user delete", "EMAIL [--yes]", ofAccounts, "delete an account with everything that belongs to it and end its tokens", userDelete),
			command("key list", "", ofKeys, "list the signing keys", keyList),
			command("key rotate", "", ofKeys, "create a new signing key; old ones verify until their tokens have expired", keyRotate),
			command("key revoke", "", ofKeys, "create a new signing key and end all others, with all tokens, at once", keyRevoke),
			command("key rewrap", "", ofKeys, "encrypt the stored signing keys with token.master_key, see docs/operations.md", keyRewrap),
			command("key reset", "[--yes]", ofKeys, "the master key is lost: create a new signing key and end all tokens", keyReset),
			command("nats add", "NAME", "nats.embedded", "let a client called NAME connect to the NATS server in authd, and create its key", natsAdd),
			command("nats list", "", "nats.embedded", "list the clients of that server and their public keys", natsList),
			command("nats remove", "NAME", "nats.embedded", "remove a client of that server; a running authd closes its connections", natsRemove),
			command("backup", "FILE", ofDatabase, "copy the SQLite database, which may be in use, to a new file", backup),
			command("restore", "FILE [--new-master-key]", ofKeys, "create the database from a backup, and end all tokens", restore),
			command("export", "[FILE] [--no-passwords]", ofDatabase, "write the accounts as JSON lines, to stdout or to a new file", export),
			command("licenses", "", "", "print the licenses of everything that is linked into authd", showLicenses),
		},
	}
}

// Groups of settings that several commands use, separated by spaces.
const (
	ofDatabase = "database"
	ofKeys     = "database token"
	ofAccounts = "database token password argon2 hash"
)

// program is one invocation of a command with its configuration.
type program struct {
	*standard.Invocation[Config]
}

func command(name, args, settings, help string, run func(context.Context, *program) error) standard.Command[Config] {
	c := standard.Command[Config]{Name: name, Args: args, Settings: settings, Help: help, AnyConfig: settings == ""}
	c.Run = func(ctx context.Context, i *standard.Invocation[Config]) error { return run(ctx, &program{i}) }
	return c
}
