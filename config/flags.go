package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/chassi-go/chassi/redact"
)

// isHelp reports whether arg, without its leading hyphens, is help or h and the struct has no setting
// of that name.
func (l *loader) isHelp(arg string) bool {
	name := strings.TrimLeft(arg, "-")
	return (name == "help" || name == "h") && find(l.fields, name, false, false) == nil
}

// parseFlags returns the values of the flags by name. It accepts --key=value, --key value and, for
// booleans, --key; one hyphen means the same as two. After --, no argument is a flag. To Report.Rest
// it adds the arguments that are not flags, and to Report.Args all arguments, with their secrets
// masked. If an argument requests help (see isHelp), it sets l.help and returns nil.
func (l *loader) parseFlags() map[string]string {
	flags := make(map[string]string)
	args := l.options.Args
	for len(args) > 0 {
		if !strings.HasPrefix(args[0], "-") || args[0] == "-" {
			l.restArgs(args[0])
			args = args[1:]
			continue
		}
		if l.isHelp(args[0]) {
			l.help = true
			return nil
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
		l.addFlag(flags, name, value, given)
	}
	return flags
}

// takesValue reports whether the flag called name needs a value. All known flags except booleans
// do.
func (l *loader) takesValue(name string) bool {
	f := find(l.fields, name, false, false)
	return name == "config" || f != nil && f.value.Kind() != reflect.Bool // a pointer to bool takes one too
}

// addFlag adds one flag to flags. If the flag is unknown or lacks its value, addFlag adds a problem
// to l instead; if the flag is given twice, it does both.
func (l *loader) addFlag(flags map[string]string, name, value string, given bool) {
	f := find(l.fields, name, false, false)
	switch {
	case f == nil && name != "config":
		l.addProblem(fmt.Errorf("--%s: unknown flag%s", name, l.suggestFlag(name)))
		return
	case name == "config" && given && value == "", !given && l.takesValue(name):
		l.addProblem(fmt.Errorf("--%s requires a value", name))
		return
	case !given:
		value = "true"
	}
	if _, twice := flags[name]; twice {
		l.addProblem(fmt.Errorf("--%s is given twice", name))
	}
	flags[name] = value
}

// restArgs adds args, which are not flags, to Report.Rest, and a problem for each of them to l if
// they are not permitted. In Report.Args it masks them, because each may be a secret.
func (l *loader) restArgs(args ...string) {
	l.report.Rest = append(l.report.Rest, args...)
	for _, arg := range args {
		if !l.options.Positional {
			l.addProblem(fmt.Errorf("unexpected argument %s: settings are flags such as --%s; --help lists them", l.word(arg), l.example()))
		}
		l.report.Args = append(l.report.Args, redact.Mask)
	}
}

// word returns an argument in the form shown in an error: quoted if it is the first argument and has
// the form of a command, and masked otherwise, because it may be the value of a misspelled flag.
func (l *loader) word(arg string) string {
	if len(l.report.Args) == 0 && len(arg) <= 16 && strings.Trim(arg, "abcdefghijklmnopqrstuvwxyz-") == "" {
		return strconv.Quote(arg)
	}
	return redact.Mask
}

func (l *loader) example() string {
	if len(l.fields) == 0 {
		return "config=FILE"
	}
	return l.fields[0].key + "=VALUE"
}

// flagArg adds one flag to Report.Args, with its value masked if the value may be a secret.
func (l *loader) flagArg(name, value string, given, separate bool) {
	shown := redact.Mask
	switch f := find(l.fields, name, false, false); {
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

func (l *loader) applyFlags(flags map[string]string) {
	for _, name := range sortedKeys(flags) {
		if f := find(l.fields, name, false, true); f != nil {
			l.apply(f, "--"+name, flags[name])
		}
	}
}
