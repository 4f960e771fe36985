package standard

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/config"
	"github.com/chassi-go/chassi/internal/contain"
	"github.com/chassi-go/chassi/schema"
	"github.com/chassi-go/chassi/telemetry"
)

// Program is a command line for an [App]. C is the program's configuration, a struct that
// embeds [Config].
//
//	orders [serve]              serve until SIGTERM or Ctrl-C
//	orders config               print every setting, its value and where it comes from
//	orders schema openapi       print the contract: openapi, asyncapi or proto
//	orders healthcheck          exit 0 if the running program is ready
//	orders version
//	orders help [COMMAND]       the same as --help after any command
//
// During serve, SIGHUP reloads the configuration, and so do a change of the configuration file or of
// a file of a secret, and the creation of a missing configuration file. Settings that can change at
// run time are applied, others are logged as requiring a restart.
type Program[C any] struct {
	Name    string // "orders"; also the prefix of environment variables: ORDERS_HTTP_ADDR
	Version string // default that of the module, or the commit it was built from
	Help    string // one sentence about the program
	File    string // configuration file, read if it exists; default Name and ".yaml"

	// Defaults overrides the defaults of settings. A zero field leaves the default in the
	// field's tag.
	Defaults C

	// Setup adds all parts to the app: services, transports, components. It must not use
	// dependencies that may be unavailable, such as a database: components do so when they
	// start. The commands serve and schema call it. An error ends the program before it
	// listens.
	Setup func(ctx context.Context, app *App, c *C) error

	// TraceExporters are the exporters that trace.exporter may name, see package
	// telemetry/exporters.
	TraceExporters map[string]telemetry.Exporter

	// About is the general information in the schema documents. Title and Version have
	// defaults.
	About schema.Info

	Commands []Command[C] // additional commands; one with the same name replaces a standard one
}

// Command is a command of a [Program].
type Command[C any] struct {
	Name string // as typed: "migrate", "user add"
	// Args are the arguments, in capitals, optional ones in brackets, with flags of the
	// command: "EMAIL", "[FILE] [--yes]".
	Args     string
	Settings string // groups of settings that the command uses, for its help: "database token"; "*" for all
	Help     string
	// AnyConfig runs the command even if the configuration is invalid, because the command does
	// not use it.
	AnyConfig bool
	Run       func(ctx context.Context, i *Invocation[C]) error
}

// Invocation is one run of a command.
type Invocation[C any] struct {
	Program  *Program[C]
	Config   *C
	Report   *config.Report
	Args     []string
	Flags    map[string]bool // the command's own flags that were given: "--yes"
	In       *os.File
	Out, Err io.Writer
	load     func() (*C, *config.Report, error)
}

// Exit codes of a [Program].
const (
	ExitOK     = 0
	ExitFailed = 1
	ExitUsage  = 2 // invalid command, flag or configuration; no action was taken
	ExitForced = 3 // ended by a second signal
)

// UsageError is an error in the command line or the configuration.
type UsageError struct{ Err error }

// Error returns the text of Err.
func (e UsageError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e UsageError) Unwrap() error { return e.Err }

type streams struct {
	in       *os.File
	out, err io.Writer
}

// Main runs the program with the process's arguments, environment and files, and exits.
func (p Program[C]) Main() {
	os.Exit(p.Run(context.Background(), os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
}

// Run runs the program and returns its exit code. It writes errors to stderr, one per line. A
// panic of Setup or of a command is an error, with its stack.
func (p Program[C]) Run(ctx context.Context, args, environ []string, stdin *os.File, stdout, stderr io.Writer) int {
	if p.File == "" {
		p.File = p.Name + ".yaml"
	}
	if p.Version == "" {
		p.Version = buildVersion()
	}
	err := p.run(ctx, args, environ, streams{stdin, stdout, stderr})
	switch {
	case err == nil:
		return ExitOK
	case errors.Is(err, chassi.ErrForced):
		return ExitForced
	}
	fmt.Fprintf(stderr, "%s: %s\n", p.Name, strings.ReplaceAll(err.Error(), "\n", "\n"+p.Name+": "))
	if _, ok := errors.AsType[UsageError](err); ok {
		return ExitUsage
	}
	return ExitFailed
}

func (p *Program[C]) run(ctx context.Context, args, environ []string, s streams) error {
	if len(args) > 0 && args[0] == "--version" {
		args = []string{"version"}
	}
	if wantsHelp(args) {
		if args[0] == "help" {
			args = args[1:]
		}
		return p.printHelp(s.out, args)
	}
	c, rest, err := p.find(args)
	if err != nil {
		return err
	}
	i, err := p.invoke(*c, rest, environ, s)
	if err != nil {
		return err
	}
	err = contain.Call(func() error { return c.Run(ctx, i) })
	if _, ok := errors.AsType[UsageError](err); ok {
		return i.Report.Locate(err)
	}
	return err //nolint:wrapcheck // the command's
}

// invoke loads the configuration for a command and returns the invocation of the command.
func (p *Program[C]) invoke(c Command[C], args, environ []string, s streams) (*Invocation[C], error) {
	args, flags := c.splitFlags(args)
	load := func() (*C, *config.Report, error) {
		settings := p.Defaults
		report, err := config.Load(&settings, config.Options{Name: p.Name, Args: args, Environ: environ, File: p.File, Positional: true, Flags: c.flags()})
		return &settings, report, err //nolint:wrapcheck // complete sentences
	}
	settings, report, err := load()
	if err != nil && (report == nil || !c.AnyConfig) {
		return nil, UsageError{err}
	}
	if err := p.checkArgs(c, report.Rest); err != nil {
		return nil, err
	}
	return &Invocation[C]{
		Program: p, Config: settings, Report: report, Args: report.Rest, Flags: flags,
		In: s.in, Out: s.out, Err: s.err, load: load,
	}, nil
}

// NewApp returns the program's App, set up and not yet running.
func (i *Invocation[C]) NewApp(ctx context.Context) (*App, error) {
	return i.newApp(ctx, Options{Log: i.Err})
}

func (i *Invocation[C]) newApp(ctx context.Context, o Options) (*App, error) {
	base, err := baseOf(i.Config)
	if err != nil {
		return nil, err
	}
	if err := config.Check(i.Config, i.Report); err != nil {
		return nil, UsageError{err}
	}
	if i.Program.TraceExporters != nil {
		base.Trace.Exporters = i.Program.TraceExporters
	}
	app, err := New(ctx, i.Program.Name, i.Program.Version, *base, o)
	if err != nil {
		return nil, err
	}
	if i.Program.Setup == nil {
		return app, nil
	}
	if err := contain.Call(func() error { return i.Program.Setup(ctx, app, i.Config) }); err != nil {
		errs := []error{err}
		if !o.DescribeOnly {
			errs = append(errs, app.errs...)
		}
		return nil, errors.Join(append(errs, app.Close())...)
	}
	return app, nil
}

// baseOf returns the Config that is embedded in the configuration of a program.
func baseOf(c any) (*Config, error) {
	b, ok := c.(interface{ base() *Config })
	if !ok {
		return nil, fmt.Errorf("standard: the configuration %T does not embed standard.Config", c)
	}
	return b.base(), nil
}

// buildVersion returns the version of the main module, or the commit it was built from.
func buildVersion() string {
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
