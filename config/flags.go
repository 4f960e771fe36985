package config

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/chassi-go/chassi/redact"
)

// parseFlags reads --key=value, --key value and, for booleans, --key, wherever they
// stand before a --. It notes in the report what is no flag, and all arguments with their
// secrets masked.
func (l *loader) parseFlags() map[string]string {
	flags := make(map[string]string)
	args := l.options.Args
	for len(args) > 0 {
		if !strings.HasPrefix(args[0], "-") || args[0] == "-" {
			l.restArgs(args[0])
			args = args[1:]
			continue
		}
		if args[0] == "--" {
			l.report.Args = append(l.report.Args, args[0])
			l.restArgs(args[1:]...)
			return flags
		}
		name, value, given := strings.Cut(strings.TrimLeft(args[0], "-"), "=")
		separate := !given && l.takesValue(name) && len(args) > 1
		args = args[1:]
		if separate {
			value, given, args = args[0], true, args[1:]
		}
		l.flagArg(name, value, given, separate)
		l.takeFlag(flags, name, value, given)
	}
	return flags
}

// takesValue reports whether the flag needs a value, as all but booleans do.
func (l *loader) takesValue(name string) bool {
	f := l.byKey[name]
	return name == "config" || f != nil && f.value.Kind() != reflect.Bool
}

// takeFlag adds one flag to flags.
func (l *loader) takeFlag(flags map[string]string, name, value string, given bool) {
	f := l.byKey[name]
	switch {
	case f == nil && name != "config":
		l.complain(fmt.Errorf("--%s: unknown flag%s", name, suggest("--"+name, l.flags())))
		return
	case !given && l.takesValue(name):
		l.complain(fmt.Errorf("--%s: needs a value", name))
		return
	case !given:
		value = "true"
	}
	if _, twice := flags[name]; twice {
		l.complain(fmt.Errorf("--%s: is given twice", name))
	}
	flags[name] = value
}

// restArgs notes arguments that are no flags. What they are is the program's matter, so
// that each may be a secret.
func (l *loader) restArgs(args ...string) {
	l.report.Rest = append(l.report.Rest, args...)
	for range args {
		l.report.Args = append(l.report.Args, redact.Mask)
	}
}

// flagArg notes one flag as anybody may see it.
func (l *loader) flagArg(name, value string, given, separate bool) {
	shown := redact.Mask
	switch f := l.byKey[name]; {
	case f != nil:
		shown = f.mask(value)
	case name == "config":
		shown = value
	}
	switch {
	case separate:
		l.report.Args = append(l.report.Args, "--"+name, shown)
	case given:
		l.report.Args = append(l.report.Args, "--"+name+"="+shown)
	default:
		l.report.Args = append(l.report.Args, "--"+name)
	}
}
