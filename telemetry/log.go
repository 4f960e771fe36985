package telemetry

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
)

// LogConfig configures the logger. The zero value means the defaults.
type LogConfig struct {
	Level  string `config:"level" default:"info" oneof:"debug,info,warn,error" reload:"true" help:"lowest level that is logged"`
	Format string `config:"format" default:"auto" oneof:"auto,json,text" help:"format of the log; auto is colored text on a terminal and JSON otherwise"`
}

// SetLevel sets the lowest level that is logged: "debug", "info", "warn" or "error";
// "" means "info". It may be called at any time. If text is not a level, SetLevel
// returns an error and changes nothing.
func (t *Telemetry) SetLevel(text string) error { return setLevel(t.Level, text) }

func setLevel(v *slog.LevelVar, text string) error {
	if text == "" {
		text = "info"
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(text)); err != nil {
		return fmt.Errorf("telemetry: log level %q: want debug, info, warn or error", text)
	}
	v.Set(level)
	return nil
}

// newLogger returns a logger with the configured level and format, and the sink through which it
// writes to out. It returns an error if the level or the format is unknown.
func newLogger(c LogConfig, level *slog.LevelVar, service string, out io.Writer) (*slog.Logger, *sink, error) {
	if err := setLevel(level, c.Level); err != nil {
		return nil, nil, err
	}
	handler, err := handlerMaker(c.Format, level, out)
	if err != nil {
		return nil, nil, err
	}
	logger := func(to io.Writer) *slog.Logger { return slog.New(handler(to)).With("service", service) }
	s := newSink(out, func(lost uint64) []byte {
		var line bytes.Buffer
		logger(&line).Warn("log lines dropped: the log output is too slow or fails", "lines", lost)
		return line.Bytes()
	})
	return slog.New(&flushing{handler(s), s}).With("service", service), s, nil
}

func handlerMaker(format string, level slog.Leveler, out io.Writer) (func(io.Writer) slog.Handler, error) {
	terminal := isTerminal(out)
	switch {
	case format == "text", (format == "" || format == "auto") && terminal:
		colour := terminal && os.Getenv("NO_COLOR") == ""
		return func(to io.Writer) slog.Handler { return newTextHandler(to, level, colour) }, nil
	case format == "json", format == "", format == "auto":
		return func(to io.Writer) slog.Handler { return newJSONHandler(to, level) }, nil
	default:
		return nil, fmt.Errorf("telemetry: log format %q: want auto, json or text", format)
	}
}

// isTerminal reports whether out is a character device other than the null device.
func isTerminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, null)
}

// flushing is a handler that makes the sink write warnings and errors without delay,
// because the process may end after them.
type flushing struct {
	slog.Handler
	sink *sink
}

// Handle implements [slog.Handler].
func (h *flushing) Handle(ctx context.Context, r slog.Record) error {
	err := h.Handler.Handle(ctx, r)
	if r.Level >= slog.LevelWarn {
		h.sink.flushNow()
	}
	return err //nolint:wrapcheck // the handler's own
}

// WithAttrs implements [slog.Handler].
func (h *flushing) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &flushing{h.Handler.WithAttrs(attrs), h.sink}
}

// WithGroup implements [slog.Handler].
func (h *flushing) WithGroup(name string) slog.Handler {
	return &flushing{h.Handler.WithGroup(name), h.sink}
}
