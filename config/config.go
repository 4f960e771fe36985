package config

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
)

// Options configures [Load].
type Options struct {
	Name    string   // name of the program; "authd" makes AUTHD_ the prefix of its variables
	Args    []string // command-line arguments after the subcommand
	Environ []string // environment variables in the form of os.Environ

	// File is the path of the configuration file, which is read if it exists. The flag --config,
	// or a variable such as AUTHD_CONFIG, names another file, which must exist.
	File string

	// Positional permits arguments that are not flags; Report.Rest contains them. If it is false,
	// such an argument is an error, so that "orders hlep" does not start the service.
	Positional bool

	// Flags are the flags that the program has removed from Args, such as "--yes". Load suggests
	// them in errors about misspelled flags.
	Flags []string
}

// ErrHelp is returned by [Load] if the arguments contain --help or -h and the struct has no setting
// of that name. Load has then set only the defaults; the program should call [Usage].
var ErrHelp = errors.New("help was requested")

// loader is the state of one call of [Load]. It collects values and problems.
type loader struct {
	options  Options
	fields   []*field
	report   *Report
	help     bool
	problems []error
}

// Load fills the struct that dst points to from its defaults, the configuration file, environment
// variables and flags. It returns a report of the values and their sources, and sets the fields of
// type *Report in the struct, and in structs embedded in it, to that report.
//
// The default value of a setting is the value that its field has before Load or, if that is the
// zero value, the value of the default tag. If dst has a method SetDefaults(), Load then calls it,
// and the values that it sets, which may be zero, become the defaults. A program can change the
// defaults of a library in either way.
//
// The error joins all problems, one per line; if it is not nil, dst must not be used. If there is
// no other problem and dst has a method Validate() error, Load calls it last, to check rules that
// concern several settings; [Report.Locate] describes the form of its error. Load also returns an
// error if the struct has a field that cannot be configured, whether a value is given for it or
// not.
func Load(dst any, o Options) (*Report, error) {
	l, err := newLoader(dst, o)
	if err != nil {
		return nil, err
	}
	report := l.report
	flags := l.parseFlags()
	if l.help {
		return nil, ErrHelp
	}
	env := l.parseEnv()
	report.File = l.readFile(flags, env)
	l.applyEnv(env)
	l.applyFlags(flags)
	for _, f := range l.fields {
		l.addProblem(f.checkGaps())
		f.commit()
	}
	for _, f := range leaves(l.fields) {
		report.Values = append(report.Values, f.report())
	}
	if v, ok := dst.(interface{ Validate() error }); ok && len(l.problems) == 0 {
		l.addProblem(report.Locate(v.Validate()))
	}
	setReports(reflect.ValueOf(dst).Elem(), report)
	return report, errors.Join(l.problems...)
}

// Check returns an error that names every setting whose value its tags do not permit, or nil if
// there is none. dst points to the struct, which need not have been filled by [Load]. Zero values
// mean defaults and are not checked. If report is not nil, the error contains the sources of the
// values.
//
// Check also tries to open the files of settings with the tag format:"file". Load does not, because
// not every command of a program needs them.
func Check(dst any, report *Report) error {
	v, err := structOf(dst)
	if err != nil {
		return err
	}
	fields, err := fieldsOf(v, "")
	if err != nil {
		return err
	}
	sources := make(map[string]string)
	if report != nil {
		for _, value := range report.Values {
			sources[value.Key] = value.Source
		}
	}
	var problems []error
	for _, f := range leaves(fields) {
		if err := f.check(); err != nil {
			problems = append(problems, f.problem(sources[f.key], f.text(), err))
		}
	}
	return errors.Join(problems...)
}

func structOf(dst any) (reflect.Value, error) {
	v := reflect.ValueOf(dst)
	switch {
	case v.Kind() != reflect.Pointer || v.Type().Elem().Kind() != reflect.Struct:
		return v, fmt.Errorf("config: the configuration must be a pointer to a struct, not %T", dst)
	case v.IsNil():
		return v, fmt.Errorf("config: the configuration must not be a nil %T", dst)
	}
	return v.Elem(), nil
}

func newLoader(dst any, o Options) (*loader, error) {
	v, err := structOf(dst)
	if err != nil {
		return nil, err
	}
	l := &loader{options: o, report: &Report{read: make(map[string]os.FileInfo)}}
	l.fields, err = setDefaults(v, func() ([]*field, error) { return fieldsOf(v, o.Name) })
	return l, err
}

func (l *loader) addProblem(err error) {
	if err != nil {
		l.problems = append(l.problems, err)
	}
}

// apply sets f to the value in text and records source as the source of f. If the value is not
// permitted, apply adds a problem.
func (l *loader) apply(f *field, source, text string) {
	l.applied(f, source, text, f.set(text))
}

// applied records source as the source of the value of f. If err, the result of setting f to text,
// is not nil, applied adds a problem.
func (l *loader) applied(f *field, source, text string, err error) {
	f.source = source
	f.group.set()
	for _, e := range f.elements {
		for _, m := range e.fields {
			m.source = source
		}
	}
	if err != nil {
		l.addProblem(f.problem(source, text, err))
	}
}

// suggestFlag returns a suggestion for an unknown flag, or "" if no known flag is near.
func (l *loader) suggestFlag(name string) string {
	known := append(names(l.fields, name, false), "config")
	for _, flag := range l.options.Flags {
		known = append(known, strings.TrimPrefix(flag, "--"))
	}
	return suggestWith("--", name, known)
}

// suggestVariable returns a suggestion for an unknown environment variable, or "" if no known
// variable is near.
func (l *loader) suggestVariable(name string) string {
	prefix := envName(l.options.Name, "")
	candidates := []string{"CONFIG"}
	for _, known := range names(l.fields, name, true) {
		candidates = append(candidates, strings.TrimPrefix(known, prefix))
	}
	return suggestWith(prefix, strings.TrimPrefix(name, prefix), candidates)
}
