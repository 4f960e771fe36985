package standard

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/config"
	"github.com/chassi-go/chassi/schema"
	"github.com/chassi-go/chassi/schema/protobuf"
)

// serve is the command that runs the program's App and reloads its configuration.
func serve[C any](ctx context.Context, i *Invocation[C]) error {
	app, err := i.NewApp(ctx)
	if err != nil {
		return err
	}
	r := &reloader[C]{invocation: i, app: app, report: i.Report, latest: i.Report}
	app.OnHangup(func() { r.reload("SIGHUP") })
	app.Add(chassi.Background("configuration files", chassi.IgnoreExit, r.watch))
	app.AddStatus("reload", r.status)
	return app.Run(ctx)
}

// reloader reloads the configuration of a running App and applies the changes.
type reloader[C any] struct {
	invocation *Invocation[C]
	app        *App
	mu         sync.Mutex
	report     *config.Report // of the latest valid configuration; some changes may need a restart
	latest     *config.Report // of the latest load, which may have failed
	invalid    atomic.Bool    // whether the latest load failed
}

// invalidText is logged when the configuration cannot be loaded. Until a later load succeeds, it is
// also part of the details of readiness.
const invalidText = "the configuration is invalid: the old one stays"

// status returns the state of the configuration for the details of readiness.
func (r *reloader[C]) status() (status, detail string) {
	if r.invalid.Load() {
		return "degraded", invalidText + "; the log says why"
	}
	return "ok", ""
}

// watch reloads the configuration when the configuration file or a file with a secret changes,
// until ctx is done. It compares the files with their state when they were first read, so that it
// also detects changes during the start of the program. It always returns nil.
func (r *reloader[C]) watch(ctx context.Context) error {
	r.mu.Lock()
	report := r.report
	r.mu.Unlock()
	report.Watch(ctx, time.Second, r.changed)
	return nil
}

// changed reloads the configuration, unless SIGHUP has reloaded it since the files changed.
func (r *reloader[C]) changed(files []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.latest.Stale(files)) > 0 {
		r.load(strings.Join(files, ", ") + " changed")
	}
}

// reload reloads the configuration. It logs the argument why as the reason.
func (r *reloader[C]) reload(why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.load(why)
}

// load loads the configuration and applies it. The caller must hold r.mu.
func (r *reloader[C]) load(why string) {
	logger := r.app.Logger
	settings, report, err := r.read()
	if report != nil {
		r.latest = report
	}
	r.invalid.Store(err != nil)
	if err != nil {
		logger.Error(invalidText, "why", why, "error", err.Error())
		return
	}
	if err := r.app.Reload(settings); err != nil {
		logger.Error("a changed setting was not applied", "why", why, "error", err.Error())
	}
	for _, change := range config.Changed(r.report, report) {
		if change.Reloadable {
			logger.Info("setting changed", "setting", change.Key, "value", change.Value)
		} else {
			logger.Warn("setting changed, needs a restart", "setting", change.Key, "value", change.Value)
		}
	}
	r.report = report
	logger.Info("configuration reloaded", "why", why)
}

// read loads the configuration. It returns an error if the configuration is invalid, or if the
// configuration file in use was deleted.
func (r *reloader[C]) read() (*C, *config.Report, error) {
	settings, report, err := r.invocation.load()
	if file := r.report.File; err == nil && file != "" && report.File == "" {
		err = fmt.Errorf("the configuration file %s was deleted; restore it, or restart without it", file)
	}
	return settings, report, err
}

// printSchema prints a schema document of the services that Setup mounts.
func printSchema[C any](ctx context.Context, i *Invocation[C]) (err error) {
	app, err := i.newApp(ctx, Options{Log: io.Discard, DescribeOnly: true})
	if err != nil {
		return err
	}
	defer app.Close()
	document, err := i.Program.render(app, i.Args[0])
	if err != nil {
		return err
	}
	_, err = i.Out.Write(document)
	return err //nolint:wrapcheck // stdout's
}

func (p *Program[C]) render(app *App, kind string) ([]byte, error) {
	info := p.About
	if info.Title == "" {
		info.Title = p.Name
	}
	if info.Version == "" {
		info.Version = p.Version
	}
	info, err := app.withSecurity(info)
	if err != nil {
		return nil, err
	}
	switch kind {
	case "openapi":
		return schema.OpenAPI(info, app.services...) //nolint:wrapcheck // says where
	case "asyncapi":
		info.Topics = append(info.Topics, app.topics...)
		return schema.AsyncAPI(info, app.services...) //nolint:wrapcheck // says where
	case "proto":
		return p.renderProto(app.services)
	default:
		return nil, UsageError{fmt.Errorf("unknown schema %q; want openapi, asyncapi or proto", kind)}
	}
}

// renderProto returns the services as a .proto file, which is valid even without services.
func (p *Program[C]) renderProto(services []*chassi.Service) ([]byte, error) {
	if len(services) == 0 {
		return fmt.Appendf(nil, "// %s has no services.\n\nsyntax = \"proto3\";\n", p.Name), nil
	}
	file, err := protobuf.File(services...)
	if err != nil {
		return nil, err //nolint:wrapcheck // says where
	}
	return []byte(protobuf.Text(file)), nil
}
