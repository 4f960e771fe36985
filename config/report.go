package config

import (
	"fmt"
	"hash/maphash"
	"io"
	"os"
	"strings"
	"text/tabwriter"
)

// Report contains the values of all settings and their sources.
type Report struct {
	Values      []Value
	File        string       // the configuration file that was read, "" for none
	SecretFiles []SecretFile // the files that secrets were read from
	Rest        []string     // arguments that are not flags

	// Args are Options.Args without secrets: the values of secrets are masked as in Values; each
	// argument that is not a flag, and the value of an unknown flag, is ***.
	Args []string

	read   map[string]os.FileInfo // state of each of Files when it was read
	absent string                 // path of the configuration file if it did not exist, or ""
}

// SecretFile is a file that contains one secret.
type SecretFile struct {
	Env  string // the variable that contains the path: "AUTHD_TOKEN_MASTER_KEY_FILE"
	Path string
}

// Files returns the paths of the files that were read: the configuration file and the files of
// secrets.
func (r *Report) Files() []string {
	var files []string
	if r.File != "" {
		files = append(files, r.File)
	}
	for _, secret := range r.SecretFiles {
		files = append(files, secret.Path)
	}
	return files
}

// Value describes one setting and contains its value for display. Each setting of an element of a
// list of structs or of a map has its own Value, with a key such as "hooks[0].url" or
// "labels.team".
type Value struct {
	Key, Env   string
	Value      string // masked if it is secret
	Secret     bool   // whether it contains a secret
	Source     string // "default", "authd.yaml:12", "AUTHD_HTTP_ADDR", "--http.addr"
	Help       string
	Reloadable bool

	sum uint64 // hash of the value before masking, different in each process
}

var seed = maphash.MakeSeed()

// report returns the Value that describes f. The field Value in it is "" if f is in an optional
// group that is not set.
func (f *field) report() Value {
	text := ""
	if f.group.isSet() {
		text = f.text()
	}
	return Value{
		Key: f.key, Env: f.env, Value: f.mask(text), Secret: f.mask(text) != text, Source: f.source,
		Help: f.tag.Get("help"), Reloadable: f.reload, sum: maphash.String(seed, text),
	}
}

// Locate returns an error that wraps err. Its text is that of err, with the source of the setting
// added before each line that begins with the name of a setting and a space or colon:
// "orders.yaml:3: keep must be ...". A line about a setting with its default value is unchanged. If
// err is nil, Locate returns nil. Load calls Locate for the error of Validate.
func (r *Report) Locate(err error) error {
	if err == nil {
		return nil
	}
	sources := make(map[string]string)
	for _, v := range r.Values {
		if v.Source != sourceDefault {
			sources[v.Key] = v.Source
		}
	}
	lines := strings.Split(err.Error(), "\n")
	for i, line := range lines {
		if end := strings.IndexAny(line, " :"); end > 0 && sources[line[:end]] != "" {
			lines[i] = sources[line[:end]] + ": " + line
		}
	}
	return &otherText{strings.Join(lines, "\n"), err}
}

// otherText is an error that wraps err but has a different text.
type otherText struct {
	text string
	err  error
}

func (e *otherText) Error() string { return e.text }

func (e *otherText) Unwrap() error { return e.err }

// WriteTo writes a table of the values and their sources to w. It returns the error of w, and
// always 0 as the number of bytes.
func (r *Report) WriteTo(w io.Writer) (int64, error) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "KEY\tVALUE\tFROM")
	for _, v := range r.Values {
		fmt.Fprintf(table, "%s\t%s\t%s\n", v.Key, v.Value, v.Source)
	}
	return 0, table.Flush()
}

// Changed returns the settings, including secrets, whose values differ between two reports of the
// same type of struct: first the settings in after, and then those that are only in before, with an
// empty Value and Source.
func Changed(before, after *Report) []Value {
	old := make(map[string]Value)
	for _, v := range before.Values {
		old[v.Key] = v
	}
	var changed []Value
	for _, v := range after.Values {
		if o, ok := old[v.Key]; !ok || o.sum != v.sum {
			changed = append(changed, v)
		}
		delete(old, v.Key)
	}
	for _, v := range before.Values {
		if _, gone := old[v.Key]; gone {
			v.Value, v.Source = "", ""
			changed = append(changed, v)
		}
	}
	return changed
}
