package config

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
)

// Options configure [Load].
type Options struct {
	Name    string   // of the program; "authd" makes AUTHD_ the prefix of its variables
	Args    []string // the command line after the subcommand
	Environ []string // as os.Environ returns it
	File    string   // read if it exists; --config or AUTHD_CONFIG names another one, which must exist

	// Positional permits arguments that are not flags, which are then in Report.Rest. Without it
	// each is an error, so that "orders hlep" does not start the service.
	Positional bool

	// Flags are the flags that the program has removed from Args, such as "--yes". Load suggests
	// them for misspelled flags.
	Flags []string
}

// ErrHelp is returned by [Load] if the arguments contain --help or -h and the struct has no such
// setting. Nothing is loaded: print [Usage].
var ErrHelp = errors.New("help was requested")

// loader collects values and problems.
type loader struct {
	options  Options
	fields   []*field
	report   *Report
	help     bool
	problems []error
}

// Load fills the struct that dst points to, and sets the fields of type *Report in it and in
// structs embedded in it to the report that it returns.
//
// The default value of a setting is the one that the struct has before Load or, if that is the zero
// value, the one of the default tag. If dst has a method SetDefaults(), Load calls it after that:
// the values that it sets, which may be zero, are the defaults then. In both ways a program changes
// the defaults of a library.
//
// The error joins all problems, one a line; dst must not be used then. If there is no other problem
// and dst has a method Validate() error, Load calls it last, for rules that concern several
// settings; [Report.Locate] describes the form of the error of Validate. Load returns an error for
// a struct with a field that cannot be configured, whether a value is given or not.
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

// Check returns an error that names every setting in the struct that dst points to whose
// value its tags do not permit, for structs that are filled in without [Load]. Zero values
// mean defaults and are not checked. The report, which may be nil, has the sources of the
// values.
//
// Check also tries to read the files of settings with the tag format:"file", which Load does
// not, because not every command of a program needs them.
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
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return v, fmt.Errorf("config: want a pointer to a struct, not %T", dst)
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

// apply sets one value and its source.
func (l *loader) apply(f *field, source, text string) {
	l.applied(f, source, text, f.set(text))
}

// applied records the source of a value, or the error err about text.
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

// suggestFlag returns a suggestion for an unknown flag.
func (l *loader) suggestFlag(name string) string {
	known := append(names(l.fields, name, false), "config")
	for _, flag := range l.options.Flags {
		known = append(known, strings.TrimPrefix(flag, "--"))
	}
	return suggestWith("--", name, known)
}

// suggestVariable returns a suggestion for an unknown environment variable.
func (l *loader) suggestVariable(name string) string {
	prefix := envName(l.options.Name, "")
	candidates := []string{"CONFIG"}
	for _, known := range names(l.fields, name, true) {
		candidates = append(candidates, strings.TrimPrefix(known, prefix))
	}
	return suggestWith(prefix, strings.TrimPrefix(name, prefix), candidates)
}
