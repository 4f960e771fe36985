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

// Program is a command line for an [App]. C is the type of the program's configuration, a struct
// that embeds [Config].
//
//	orders [serve]              serve until SIGTERM or Ctrl-C
//	orders config               print every setting, its value and where it comes from
//	orders schema openapi       print the contract: openapi, asyncapi or proto
//	orders healthcheck          exit 0 if the running program is ready
//	orders version
//	orders help [COMMAND]       the same as --help after any command
//
// While serve runs, it reloads the configuration on SIGHUP, when the configuration file or a file
// with a secret changes, and when a missing configuration file is created. Changed settings that
// can be applied at run time take effect; the others are logged as requiring a restart.
type Program[C any] struct {
	Name    string // such as "orders"; also the prefix of environment variables: ORDERS_HTTP_ADDR
	Version string // default the version of the main module, or the commit it was built from
	Help    string // one sentence about the program
	File    string // configuration file, which need not exist; default Name and ".yaml"

	// Defaults overrides the defaults of settings. If a field is zero, the default in its tag
	// applies.
	Defaults C

	// Setup adds all parts to the app: services, transports, components. It must not use
	// dependencies that may be unavailable, such as a database: components do so when they
	// start. The commands serve and schema call it. An error ends the program before it
	// listens.
	Setup func(ctx context.Context, app *App, c *C) error

	// TraceExporters contains the exporters that trace.exporter can select, by name; see package
	// telemetry/exporters.
	TraceExporters map[string]telemetry.Exporter

	// About is the general information in the schema documents. The defaults of its Title and its
	// Version are Name and Version.
	About schema.Info

	Commands []Command[C] // additional commands; they replace standard commands of the same name
}

// Command is a command of a [Program].
type Command[C any] struct {
	Name string // one or more words: "migrate", "user add"
	// Args describes the arguments in capitals, with optional arguments and the flags of the
	// command in brackets: "EMAIL", "[FILE] [--yes]".
	Args     string
	Settings string // groups of settings in the help of the command: "database token"; "*" for all
	Help     string
	// AnyConfig makes the program run the command even if the configuration is invalid. It is for
	// commands that do not use the configuration.
	AnyConfig bool
	Run       func(ctx context.Context, i *Invocation[C]) error
}

// Invocation is one run of a command.
type Invocation[C any] struct {
	Program  *Program[C]
	Config   *C
	Report   *config.Report
	Args     []string
	Flags    map[string]bool // the flags of the command that were given: "--yes"
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

// Main runs the program with the process's arguments, environment and standard streams, and exits.
func (p Program[C]) Main() {
	os.Exit(p.Run(context.Background(), os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
}

// Run runs the program with args, which do not include the name of the program, and returns its
// exit code. It writes errors to stderr, one per line. A panic of Setup or of a command is reported
// as an error with its stack.
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

// invoke loads the configuration for a command and returns the invocation of the command. It
// returns a [UsageError] if the number of arguments is wrong, or if the configuration is invalid
// and the command needs it.
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

// NewApp returns the program's App, to which Setup has added all parts and which is not running
// yet. The caller must call [App.Run] or, if it does not run the App, [App.Close]. NewApp returns an
// error if the configuration is invalid or Setup fails.
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

// baseOf returns the Config that is embedded in the configuration of a program, or an error if
// there is none.
func baseOf(c any) (*Config, error) {
	b, ok := c.(interface{ base() *Config })
	if !ok {
		return nil, fmt.Errorf("standard: the configuration is a %T: want a pointer to a struct that embeds standard.Config", c)
	}
	return b.base(), nil
}

// buildVersion returns the version of the main module or, if that is unknown, the commit that the
// program was built from. If neither is known, it returns "devel", or "unknown" if the program has
// no build information.
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
