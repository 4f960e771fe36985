package config_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chassi-go/chassi/config"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type settings struct {
	HTTP struct {
		Addr    string        `config:"addr" default:"127.0.0.1:8080" help:"where to listen"`
		Timeout time.Duration `config:"timeout" default:"5s" min:"1ms" max:"1m"`
		Origins []string      `config:"origins"`
	} `config:"http"`
	Level string        `config:"level" default:"info" oneof:"debug,info,warn" reload:"true"`
	URL   string        `config:"url" default:"sqlite:x" mask:"url"`
	Key   config.Secret `config:"key"`
	On    bool          `config:"on"`
	Size  uint8         `config:"size" default:"7"`

	embedded
}

type embedded struct {
	Depth int `config:"depth" default:"3"`
}

func load(t *testing.T, file string, environ, args []string) (settings, *config.Report, error) {
	t.Helper()
	o := config.Options{Name: "prog", Args: args, Environ: environ, Positional: true}
	if file != "" {
		o.File = filepath.Join(t.TempDir(), "prog.yaml")
		if err := os.WriteFile(o.File, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var s settings
	report, err := config.Load(&s, o)
	return s, report, err
}

func TestPrecedenceOfSources(t *testing.T) {
	t.Parallel()
	const file = "http:\n  addr: file\n  origins: [a, b]\nlevel: warn\ndepth: 4\n"
	s, report, err := load(t, file, []string{"PROG_HTTP_ADDR=env", "PROG_ON=true", "HOME=/"}, []string{"--http.addr", "flag", "word", "--size=9"})
	if err != nil {
		t.Fatal(err)
	}
	if s.HTTP.Addr != "flag" || s.Level != "warn" || !s.On || s.Size != 9 || s.HTTP.Timeout != 5*time.Second || s.Depth != 4 {
		t.Errorf("got %+v", s)
	}
	if diff := cmp.Diff([]string{"a", "b"}, s.HTTP.Origins); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"word"}, report.Rest); diff != "" {
		t.Error(diff)
	}
	sources := make(map[string]string)
	for _, v := range report.Values {
		sources[v.Key] = strings.TrimPrefix(v.Source, filepath.Dir(report.File)+"/")
	}
	want := map[string]string{
		"http.addr": "--http.addr", "http.timeout": "default", "http.origins": "prog.yaml:3", "level": "prog.yaml:4",
		"url": "default", "key": "default", "on": "PROG_ON", "size": "--size", "depth": "prog.yaml:5",
	}
	if diff := cmp.Diff(want, sources); diff != "" {
		t.Error(diff)
	}
}

// Load returns all problems at once, each with its source and the nearest name (fault 8).
func TestAllProblemsAtOnce(t *testing.T) {
	t.Parallel()
	const file = "http:\n  adr: x\n  timeout: soon\nlevel: loud\nlevel: info\nnonsense: 1\nsize: 300\n"
	_, _, err := load(t, file, []string{"PROG_HTP_ADDR=x", "PROG_ON=perhaps"}, []string{"--levl=info", "--http.timeout=2h", "--depth"})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"prog.yaml:2: unknown setting http.adr; did you mean http.addr?",
		`prog.yaml:3: http.timeout ("soon") must be a duration`,
		`prog.yaml:4: level ("loud") must be one of debug, info, warn`,
		"prog.yaml:5: level is given twice",
		"prog.yaml:6: unknown setting nonsense",
		"prog.yaml:7: size",
		"PROG_HTP_ADDR: unknown environment variable; did you mean PROG_HTTP_ADDR?",
		`PROG_ON: on ("perhaps") must be true or false`,
		"--levl: unknown flag; did you mean --level?",
		`--http.timeout: http.timeout ("2h") must be at most 1m`,
		"--depth requires a value",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in:\n%v", want, err)
		}
	}
}

func TestSecretsAreNeverShown(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte("canary\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, report, err := load(t, "", []string{"PROG_KEY_FILE=" + file, "PROG_URL=postgres://u:canary@h/db?sslpassword=canary"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if s.Key.Reveal() != "canary" {
		t.Errorf("key %q", s.Key.Reveal())
	}
	var table strings.Builder
	if _, err := report.WriteTo(&table); err != nil {
		t.Fatal(err)
	}
	shown := table.String() + fmt.Sprintf("%v %+v %#v %s %q", s.Key, s.Key, s.Key, s.Key, s.Key)
	if strings.Contains(shown, "canary") || !strings.Contains(shown, "***") {
		t.Errorf("shown:\n%s", shown)
	}
	_, _, err = load(t, "", []string{"PROG_KEY=canary", "PROG_KEY_FILE=" + file}, nil)
	if err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("both forms of a secret: %v", err)
	}
}

// Report.Args can be shown, and Report.Values say which settings contain a secret (R76).
func TestReportMasksArguments(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "url")
	if err := os.WriteFile(file, []byte("nats://canary@h"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args   []string
		want   string
		secret string // the settings that hold one
	}{
		{nil, "", ""},
		{[]string{"--http.addr=:1", "--on", "--size", "8"}, "--http.addr=:1 --on --size 8", ""},
		{[]string{"--key=canary"}, "--key=***", "key"},
		{[]string{"-key", "canary", "--level=debug"}, "--key *** --level=debug", "key"},
		{[]string{"--url", "redis://u:canary@h"}, "--url redis://u:***@h", "url"},
		{[]string{"--url=sqlite:y", "canary"}, "--url=sqlite:y ***", ""},
		{[]string{"--on", "--", "--key=canary", "canary"}, "--on -- *** ***", ""},
		{[]string{"--nonsense=canary", "--other", "canary"}, "--nonsense=*** --other ***", ""},
	} {
		_, report, _ := load(t, "", nil, c.args)
		if got := strings.Join(report.Args, " "); got != c.want {
			t.Errorf("%q is shown as %q, want %q", c.args, got, c.want)
		}
		if got := secrets(report); got != c.secret {
			t.Errorf("%q: secrets in %q, want %q", c.args, got, c.secret)
		}
	}
	_, report, err := load(t, "key: canary\n", []string{"PROG_URL_FILE=" + file}, nil)
	if err != nil || secrets(report) != "url,key" || len(report.SecretFiles) != 1 || report.SecretFiles[0] != (config.SecretFile{Env: "PROG_URL_FILE", Path: file}) {
		t.Errorf("%v, secrets in %s, files %v", err, secrets(report), report.SecretFiles)
	}
}

func secrets(r *config.Report) string {
	var keys []string
	for _, v := range r.Values {
		if v.Secret {
			keys = append(keys, v.Key)
		}
	}
	return strings.Join(keys, ",")
}

func TestReportFieldsAreSet(t *testing.T) {
	t.Parallel()
	type base struct{ Loaded *config.Report }
	var s struct {
		base

		On   bool `config:"on"`
		Here *config.Report
	}
	report, err := config.Load(&s, config.Options{Name: "prog", Args: []string{"--on"}})
	if err != nil || s.Here != report || s.Loaded != report {
		t.Errorf("%v: %p and %p, want %p", err, s.Here, s.Loaded, report)
	}
}

func TestFileForms(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ file, want string }{
		"empty":         {"# nothing\n", ""},
		"list on top":   {"- a\n", "must be a mapping of settings"},
		"two documents": {"on: true\n---\non: false\n", "more than one YAML document"},
		"no yaml":       {"http: [\n", "not valid YAML"},
		"no value":      {"level:\n", "level has no value"},
		"mapping":       {"level: {a: b}\n", "level must be a plain value"},
		"list":          {"level: [a]\n", "not a list"},
		"scalar group":  {"http: x\n", "must be a mapping of settings"},
		"too large":     {strings.Repeat("#", 1<<20+1), "larger than"},
	} {
		_, _, err := load(t, c.file, nil, nil)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	var s settings
	if _, err := config.Load(&s, config.Options{Name: "prog", Args: []string{"--config=/no/such/file"}}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file asked for that is not there: %v", err)
	}
}

func TestChanged(t *testing.T) {
	t.Parallel()
	_, before, err := load(t, "", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, after, err := load(t, "", nil, []string{"--level=debug", "--size=8"})
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]bool)
	for _, v := range config.Changed(before, after) {
		got[v.Key] = v.Reloadable
	}
	if diff := cmp.Diff(map[string]bool{"level": true, "size": false}, got); diff != "" {
		t.Error(diff)
	}
}

func TestWatch(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "watched")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("a")
	synctest.Test(t, func(t *testing.T) {
		var changes atomic.Int64
		go config.Watch(t.Context(), time.Second, []string{file}, func([]string) { changes.Add(1) })
		time.Sleep(3500 * time.Millisecond)
		synctest.Wait()
		if changes.Load() != 0 {
			t.Errorf("%d changes of a file that did not change", changes.Load())
		}
		write("another")
		time.Sleep(2 * time.Second)
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		write("a third text")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if changes.Load() != 2 {
			t.Errorf("%d changes, want 2: one for each new text, none while the file is missing", changes.Load())
		}
	})
}

// A file that changes between Load and Watch, which may be a long time, has changed.
func TestReportWatch(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, secret, same := filepath.Join(dir, "prog.yaml"), filepath.Join(dir, "key"), filepath.Join(dir, "url")
	write := func(file, text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(file, "level: info")
	write(secret, "one")
	write(same, "postgres://a")
	var s struct {
		Level string        `config:"level"`
		Key   config.Secret `config:"key"`
		URL   config.Secret `config:"url"`
	}
	report, err := config.Load(&s, config.Options{Name: "prog", File: file, Environ: []string{"PROG_KEY_FILE=" + secret, "PROG_URL_FILE=" + same}})
	if err != nil {
		t.Fatal(err)
	}
	write(file, "level: debug")
	write(secret, "another")
	synctest.Test(t, func(t *testing.T) {
		for range 2 { // the state in the report stays
			var changes [][]string
			ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
			report.Watch(ctx, time.Second, func(files []string) { changes = append(changes, files) })
			stop()
			if diff := cmp.Diff([][]string{{file, secret}}, changes); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
		}
	})
}

// A configuration file that did not exist when it was looked for has changed once it exists.
func TestReportWatchesForTheFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "prog.yaml")
	var s struct {
		Level string `config:"level"`
	}
	report, err := config.Load(&s, config.Options{Name: "prog", File: file})
	if err != nil || len(report.Files()) != 0 {
		t.Fatalf("%v, files %v", err, report.Files())
	}
	synctest.Test(t, func(t *testing.T) {
		changes := make(chan []string, 10)
		go report.Watch(t.Context(), time.Second, func(files []string) { changes <- files })
		time.Sleep(2500 * time.Millisecond)
		synctest.Wait()
		if len(changes) != 0 {
			t.Errorf("changes of no file: %v", <-changes)
		}
		if err := os.WriteFile(file, []byte("level: debug"), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if len(changes) != 1 || !slices.Equal(<-changes, []string{file}) {
			t.Error("the file was not noticed, or more than once")
		}
	})
}

// Kubernetes changes the files of a volume by replacing the link that all their links lead
// through. A file that is missing hides no change of another one.
func TestWatchFollowsReplacedLinks(t *testing.T) {
	t.Parallel()
	dir, at := t.TempDir(), time.Now()
	link := func(to, name string) {
		if err := errors.Join(os.Symlink(to, filepath.Join(dir, "new")), os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, name))); err != nil {
			t.Fatal(err)
		}
	}
	version := func(name, text string) { // of one size and time, as those of another version
		file := filepath.Join(dir, name, "key")
		if err := errors.Join(os.Mkdir(filepath.Join(dir, name), 0o700), os.WriteFile(file, []byte(text), 0o600), os.Chtimes(file, at, at)); err != nil {
			t.Fatal(err)
		}
		link(name, "..data")
	}
	version("..1", "one")
	link("..data/key", "key")
	key, missing := filepath.Join(dir, "key"), filepath.Join(dir, "missing")
	synctest.Test(t, func(t *testing.T) {
		var changes [][]string
		go config.Watch(t.Context(), time.Second, []string{missing, key, os.DevNull}, func(files []string) { changes = append(changes, files) })
		time.Sleep(2500 * time.Millisecond)
		version("..2", "two")
		time.Sleep(2 * time.Second)
		if err := os.RemoveAll(filepath.Join(dir, "..1")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		link("..2/key", "missing")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if diff := cmp.Diff([][]string{{key}, {missing}}, changes); diff != "" {
			t.Errorf("changes (-want +got):\n%s", diff)
		}
	})
}

func TestUsageNamesEverySetting(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	if err := config.Usage(&text, &settings{}, "prog"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"--http.addr  PROG_HTTP_ADDR", "where to listen (default 127.0.0.1:8080)", "--depth  PROG_DEPTH"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in:\n%s", want, text.String())
		}
	}
}

func TestBrokenDefaultIsAnError(t *testing.T) {
	t.Parallel()
	var s struct {
		N int `config:"n" default:"many"`
	}
	if _, err := config.Load(&s, config.Options{Name: "prog"}); err == nil {
		t.Error("no error")
	}
	if _, err := config.Load(s, config.Options{Name: "prog"}); err == nil {
		t.Error("no error for a struct that is not pointed to")
	}
}

func TestNumbersKeepTheirValue(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int().Draw(t, "n")
		var s struct {
			N int `config:"n"`
		}
		if _, err := config.Load(&s, config.Options{Name: "prog", Args: []string{fmt.Sprintf("--n=%d", n)}}); err != nil || s.N != n {
			t.Errorf("%d became %d, %v", n, s.N, err)
		}
	})
}

// keeper is a struct whose Validate names settings.
type keeper struct {
	Keep int    `config:"keep" default:"3"`
	URL  string `config:"url" mask:"url"`
}

var errRule = errors.New("keep must not be 4 with a url")

func (k *keeper) Validate() error {
	if k.Keep == 3 {
		return errors.New("keep must not be the default")
	}
	return errors.Join(errRule, errors.New("url: is not wanted"), errors.New("other rules"))
}

// The error of Validate gets the sources of the settings that its lines begin with.
func TestValidateErrorHasSources(t *testing.T) {
	t.Parallel()
	_, err := config.Load(&keeper{}, config.Options{Name: "prog", Args: []string{"--keep=4"}, Environ: []string{"PROG_URL=http://h"}})
	want := "--keep: keep must not be 4 with a url\nPROG_URL: url: is not wanted\nother rules"
	if err == nil || err.Error() != want || !errors.Is(err, errRule) {
		t.Errorf("err = %v, want %q", err, want)
	}
	if _, err = config.Load(&keeper{}, config.Options{Name: "prog"}); err == nil || err.Error() != "keep must not be the default" {
		t.Errorf("a default: %v", err)
	}
}
