package config

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"text/tabwriter"
)

// Options say where values come from.
type Options struct {
	Name    string   // the program's; "authd" makes AUTHD_ the prefix of the environment
	Args    []string // the command line behind the subcommand
	Environ []string // as os.Environ gives it
	File    string   // read if it exists; --config or AUTHD_CONFIG names another one, which must
}

// Report tells what the values are and where they came from.
type Report struct {
	Values      []Value
	File        string       // the file read, "" for none
	SecretFiles []SecretFile // the files that secrets were read from
	Rest        []string     // arguments that are no flags

	// Args are Options.Args as anybody may see them: the values of secrets are masked as
	// in Values, and each argument that is no flag is ***.
	Args []string
}

// SecretFile is a file that holds one secret.
type SecretFile struct {
	Env  string // the variable that named it: "AUTHD_TOKEN_MASTER_KEY_FILE"
	Path string
}

// Value is one setting as an operator may see it.
type Value struct {
	Key, Env   string
	Value      string // masked if it is secret
	Secret     bool   // whether there is a secret in it
	Source     string // "default", "authd.yaml:12", "AUTHD_HTTP_ADDR", "--http.addr"
	Help       string
	Reloadable bool
}

// loader gathers values and problems.
type loader struct {
	options  Options
	fields   []*field
	byKey    map[string]*field
	report   *Report
	problems []error
}

// Load fills the struct that dst points to, and sets the fields of type *Report in it
// and in structs embedded in it to the report that it returns. Its error joins all
// problems, one a line; dst is then of no use.
func Load(dst any, o Options) (*Report, error) {
	l, err := newLoader(dst, o)
	if err != nil {
		return nil, err
	}
	report := l.report
	flags := l.parseFlags()
	env := l.parseEnv()
	report.File = l.readFile(flags, env)
	l.applyEnv(env)
	l.applyFlags(flags)
	if v, ok := dst.(interface{ Validate() error }); ok && len(l.problems) == 0 {
		l.complain(v.Validate())
	}
	for _, f := range l.fields {
		report.Values = append(report.Values, f.report())
	}
	setReports(reflect.ValueOf(dst).Elem(), report)
	return report, errors.Join(l.problems...)
}

func newLoader(dst any, o Options) (*loader, error) {
	v := reflect.ValueOf(dst)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return nil, fmt.Errorf("config: Load needs a pointer to a struct, not %T", dst)
	}
	l := &loader{options: o, byKey: make(map[string]*field), report: new(Report)}
	l.fields = fieldsOf(v.Elem(), "", o.Name)
	for _, f := range l.fields {
		l.byKey[f.key] = f
		if text, ok := f.tag.Lookup("default"); ok {
			if err := f.set(text); err != nil {
				return nil, fmt.Errorf("config: default of %s %w", f.key, err)
			}
		}
	}
	return l, nil
}

func (l *loader) complain(err error) {
	if err != nil {
		l.problems = append(l.problems, err)
	}
}

// apply sets one value and notes where it came from.
func (l *loader) apply(f *field, source, text string) {
	l.applied(f, source, text, f.set(text))
}

func (l *loader) applied(f *field, source, text string, err error) {
	f.source = source
	if err == nil {
		return
	}
	shown := fmt.Sprintf(" (%q)", text)
	if f.masked() {
		shown = ""
	}
	l.complain(fmt.Errorf("%s: %s%s %w", source, f.key, shown, err))
}

func (l *loader) keys() []string { return slices.Sorted(maps.Keys(l.byKey)) }

func (l *loader) flags() []string {
	names := []string{"--config"}
	for _, key := range l.keys() {
		names = append(names, "--"+key)
	}
	return names
}

// parseEnv picks the variables with the program's prefix.
func (l *loader) parseEnv() map[string]string {
	env := make(map[string]string)
	prefix := strings.ToUpper(l.options.Name) + "_"
	for _, pair := range l.options.Environ {
		if name, value, ok := strings.Cut(pair, "="); ok && strings.HasPrefix(name, prefix) && !isServiceLink(name[len(prefix):]) {
			env[name] = value
		}
	}
	return env
}

// isServiceLink tells the variables that Kubernetes and Docker set for a service
// of the program's name: AUTHD_SERVICE_HOST, AUTHD_PORT_8080_TCP_ADDR.
func isServiceLink(name string) bool {
	return strings.HasPrefix(name, "SERVICE_HOST") || strings.HasPrefix(name, "SERVICE_PORT") || name == "PORT" || strings.HasPrefix(name, "PORT_")
}

func (l *loader) applyEnv(env map[string]string) {
	names := []string{envName(l.options.Name, "config")}
	known := map[string]bool{names[0]: true}
	for _, f := range l.fields {
		known[f.env] = true
		names = append(names, f.env)
		text, given := env[f.env]
		if given {
			l.apply(f, f.env, text)
		}
		if f.masked() {
			known[f.env+"_FILE"] = true
			if path, ok := env[f.env+"_FILE"]; ok {
				l.applySecretFile(f, path, given)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if !known[name] {
			l.complain(fmt.Errorf("%s: unknown environment variable%s", name, suggest(name, names)))
		}
	}
}

// maxSecret bounds a secret's file, maxFile the configuration's.
const (
	maxSecret = 64 << 10
	maxFile   = 1 << 20
)

func (l *loader) applySecretFile(f *field, path string, twice bool) {
	source := f.env + "_FILE"
	if twice {
		l.complain(fmt.Errorf("%s: %s is set too; unset one of them", source, f.env))
		return
	}
	text, err := readBounded(path, maxSecret)
	if err != nil {
		l.complain(fmt.Errorf("%s: %w", source, err))
		return
	}
	l.report.SecretFiles = append(l.report.SecretFiles, SecretFile{source, path})
	l.apply(f, source, strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r"))
}

func readBounded(path string, limit int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err //nolint:wrapcheck // the caller says what for
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%s is larger than %d bytes", path, limit)
	}
	return data, err
}

func (l *loader) applyFlags(flags map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(flags)) {
		if f := l.byKey[name]; f != nil {
			l.apply(f, "--"+name, flags[name])
		}
	}
}

func (f *field) report() Value {
	return Value{
		Key: f.key, Env: f.env, Value: f.shown(), Secret: f.holdsSecret(), Source: f.source,
		Help: f.tag.Get("help"), Reloadable: f.tag.Get("reload") == "true",
	}
}

// shown is the value as anybody may see it.
func (f *field) shown() string {
	text := fmt.Sprint(f.value.Interface())
	switch {
	case f.masked():
		return f.mask(text)
	case f.value.Kind() == reflect.Slice:
		return strings.Join(strings.Fields(strings.Trim(text, "[]")), ",")
	default:
		return text
	}
}

// WriteTo prints the values as a table with their origin.
func (r *Report) WriteTo(w io.Writer) (int64, error) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "KEY\tVALUE\tFROM")
	for _, v := range r.Values {
		fmt.Fprintf(table, "%s\t%s\t%s\n", v.Key, v.Value, v.Source)
	}
	return 0, table.Flush()
}

// Changed lists the settings that differ between two reports of one struct.
func Changed(before, after *Report) []Value {
	var changed []Value
	for i, v := range after.Values {
		if i < len(before.Values) && before.Values[i].Value != v.Value {
			changed = append(changed, v)
		}
	}
	return changed
}

// Usage prints every setting of the struct that dst points to: flag, variable,
// default, help.
func Usage(w io.Writer, dst any, name string) error {
	l, err := newLoader(dst, Options{Name: name})
	if err != nil {
		return err
	}
	for _, f := range l.fields {
		byDefault := ""
		if text := f.tag.Get("default"); text != "" {
			byDefault = " (default " + text + ")"
		}
		if _, err := fmt.Fprintf(w, "  --%s  %s\n        %s%s\n", f.key, f.env, f.tag.Get("help"), byDefault); err != nil {
			return err //nolint:wrapcheck // the writer's
		}
	}
	return nil
}
