package config_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chassi-go/chassi/config"
	"github.com/chassi-go/chassi/ratelimit"
	"github.com/google/go-cmp/cmp"
)

type forms struct {
	Labels map[string]string        `config:"labels"`
	Limits map[string]time.Duration `config:"limits" max:"1h"`
	Share  *float64                 `config:"share" min:"0" max:"1"`
	Kinds  []string                 `config:"kinds" oneof:"a,b"`
	Tokens []config.Secret          `config:"tokens"`
	Hooks  []struct {
		Name string        `config:"name" default:"all"`
		URL  config.Secret `config:"url"`
		On   struct {
			Level int `config:"level" max:"5"`
		} `config:"on"`
	} `config:"hooks"`
}

func TestMapsPointersAndListsOfStructs(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "prog.yaml")
	text := "labels: {team: blue, b: c}\nhooks:\n- url: https://h/canary\n- name: two\n  on:\n    level: 3\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var f forms
	report, err := config.Load(&f, config.Options{Name: "prog", File: file, Environ: []string{"PROG_LIMITS=a=1s, b=2s", "PROG_TOKENS=canary,canary2"}, Args: []string{"--share=0.5", "--kinds=a,b"}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"team": "blue", "b": "c"}, f.Labels); diff != "" {
		t.Error(diff)
	}
	if f.Limits["b"] != 2*time.Second || f.Share == nil || *f.Share != 0.5 || len(f.Tokens) != 2 || len(f.Hooks) != 2 {
		t.Fatalf("%+v", f)
	}
	if f.Hooks[0].Name != "all" || f.Hooks[0].URL.Reveal() != "https://h/canary" || f.Hooks[1].Name != "two" || f.Hooks[1].On.Level != 3 {
		t.Errorf("%+v", f.Hooks)
	}
	var table strings.Builder
	_, _ = report.WriteTo(&table)
	for _, want := range []string{"labels.b           c      /", "labels.team        blue", "hooks[0].url       ***", "hooks[1].on.level  3", "prog.yaml:6", "limits.a           1s     PROG_LIMITS", "limits.b           2s     PROG_LIMITS"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("no %q in:\n%s", want, table.String())
		}
	}
	if strings.Contains(table.String(), "canary") {
		t.Errorf("shows a secret:\n%s", table.String())
	}
	var none forms
	if _, err := config.Load(&none, config.Options{Name: "prog"}); err != nil || none.Share != nil || none.Hooks != nil || none.Labels != nil {
		t.Errorf("%v: %+v", err, none)
	}
}

func TestMapsPointersAndListsOfStructsRefuse(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		"--labels=a":                "must be a comma-separated list of KEY=VALUE",
		"--labels=a=1,a=2":          "has the key a twice",
		"--limits=a=2h":             `limits.a ("2h") must be at most 1h`,
		"--share=2":                 "must be at most 1",
		"--kinds=a,c":               "must be one of a, b",
		"--labels==a":               "must be a comma-separated list of KEY=VALUE",
		"--hooks=a":                 "cannot be set as a whole; set its elements, for example hooks[N].name",
		"hooks: x":                  "cannot be set as a whole; set its elements, for example hooks[N].name",
		"hooks: {name: x}":          "hooks must be a list of settings",
		"hooks: [x]":                "hooks[0] must be a mapping of settings",
		"hooks: [{nama: x}]":        "unknown setting hooks[0].nama; did you mean hooks[0].name?",
		"hooks: [{on: {level: 9}}]": `hooks[0].on.level ("9") must be at most 5`,
		"labels: {a: [b]}":          "labels.a (\"b\") must be one value, not a list",
		"labels: {a: x, a: x}":      "labels.a is given twice",
		"labels: {'': x}":           "each key of labels must be text that is not empty",
		"labels: {a: ~}":            "labels.a has no value",
		"limits: {a: 2h}":           `limits.a ("2h") must be at most 1h`,
		"labels: [a]":               "labels must be a mapping",
		"share: [1]":                "must be one value, not a list",
	} {
		o := config.Options{Name: "prog", File: filepath.Join(t.TempDir(), "prog.yaml")}
		if strings.HasPrefix(given, "--") {
			o.Args = []string{given}
		} else if err := os.WriteFile(o.File, []byte(given+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := config.Load(new(forms), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", given, err, want)
		}
	}
}

// elements has a setting of every kind whose elements have names.
type elements struct {
	Providers map[string]provider      `config:"providers"`
	Hooks     []*hook                  `config:"hooks"`
	Keys      map[string]config.Secret `config:"keys"`
	Scopes    map[string][]string      `config:"scopes"`
	TLS       *tls                     `config:"tls"`
}

type provider struct {
	ClientID string        `config:"client_id" default:"none"`
	Secret   config.Secret `config:"client_secret"`
	Retry    *retries      `config:"retry"`
	Hosts    []hook        `config:"hosts"`
}

type hook struct {
	URL string `config:"url" mask:"url" format:"url:http"`
	On  bool   `config:"on"`
}

type tls struct {
	Cert  string   `config:"cert"`
	Min   float64  `config:"min" default:"1.2" min:"1"`
	Retry *retries `config:"retry"`
}

type retries struct {
	Attempts int `config:"attempts" default:"3" max:"9"`
}

func loadElements(t *testing.T, file string, environ, args []string) (elements, *config.Report, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "prog.yaml")
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	var e elements
	report, err := config.Load(&e, config.Options{Name: "prog", File: path, Environ: environ, Args: args})
	return e, report, err
}

// Each source adds elements, and changes single settings of those of the sources before it.
func TestElementsOfSeveralSources(t *testing.T) {
	t.Parallel()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("canary1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	file := "providers:\n  my-App.io: {client_id: a}\n  other:\nhooks: [{url: http://a}, {url: http://b}]\nkeys: {Old: canary2}\nscopes: {x: [a, b]}\n"
	got, report, err := loadElements(t, file, []string{
		"PROG_PROVIDERS__MY_APP_IO__CLIENT_SECRET_FILE=" + secret, "PROG_PROVIDERS__NEW__RETRY_ATTEMPTS=4", "PROG_PROVIDERS__NEW__HOSTS__0__URL=http://h",
		"PROG_KEYS__NEW=canary3", "PROG_KEYS__OLD_FILE=" + secret, "PROG_HOOKS__2__URL=http://c", "PROG_HOOKS__10__ON=true", "PROG_SCOPES__Y=c,d",
	}, []string{
		"--hooks[1].url=http://u:canary4@e", "--hooks[2].on", "--providers.my-App.io.client_id", "f", "--scopes.x=z",
		"--hooks[3].on", "--hooks[4].on", "--hooks[5].on", "--hooks[6].on", "--hooks[7].on", "--hooks[8].on", "--hooks[9].on",
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Hooks) != 11 || !got.Hooks[10].On {
		t.Fatalf("%d hooks", len(got.Hooks))
	}
	got.Hooks = got.Hooks[:3]
	want := elements{
		Providers: map[string]provider{
			"my-App.io": {ClientID: "f", Secret: "canary1"}, "other": {ClientID: "none"},
			"new": {ClientID: "none", Retry: &retries{Attempts: 4}, Hosts: []hook{{URL: "http://h"}}},
		},
		Hooks:  []*hook{{URL: "http://a"}, {URL: "http://u:canary4@e"}, {URL: "http://c", On: true}},
		Keys:   map[string]config.Secret{"Old": "canary1", "new": "canary3"},
		Scopes: map[string][]string{"x": {"z"}, "y": {"c", "d"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	var table strings.Builder
	_, _ = report.WriteTo(&table)
	shown := strings.Join(strings.Fields(table.String()), " ")
	for _, want := range []string{
		"providers.my-App.io.client_id f --providers.my-App.io.client_id", "providers.my-App.io.client_secret *** PROG_PROVIDERS__MY_APP_IO__CLIENT_SECRET_FILE",
		"providers.new.retry.attempts 4 PROG_PROVIDERS__NEW__RETRY_ATTEMPTS", "providers.new.hosts[0].url http://h PROG_PROVIDERS__NEW__HOSTS__0__URL",
		"providers.other.client_id none default providers.other.client_secret default providers.other.retry.attempts default providers.other.hosts default",
		"hooks[1].url http://u:***@e --hooks[1].url hooks[1].on false default", "keys.Old *** PROG_KEYS__OLD_FILE keys.new *** PROG_KEYS__NEW",
		"tls.cert default tls.min default",
	} {
		if !strings.Contains(shown, want) {
			t.Errorf("no %q in:\n%s", want, table.String())
		}
	}
	if strings.Contains(shown+fmt.Sprint(report.Args), "canary") {
		t.Errorf("shows a secret: %v\n%s", report.Args, table.String())
	}
	if len(report.SecretFiles) != 2 || report.SecretFiles[0].Env != "PROG_KEYS__OLD_FILE" {
		t.Errorf("%v", report.SecretFiles)
	}
}

func TestElementsThatAreRefused(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		"--hooks[1].url=http://h":                "--hooks[1].url: hooks[0] is not set, but hooks[1] is; number the elements from 0 without gaps",
		"--hooks[1000].url=http://h":             "--hooks[1000].url: unknown flag",
		"--hooks[01].url=http://h":               "--hooks[01].url: unknown flag",
		"--hooks[-1].url=http://h":               "--hooks[-1].url: unknown flag",
		"--hooks[0].ulr=x":                       "--hooks[0].ulr: unknown flag; did you mean --hooks[0].url?",
		"--hooks[0]=x":                           "--hooks[0]: unknown flag",
		"--hooks[0].url=canary":                  `--hooks[0].url: hooks[0].url ("canary") must be http://HOST:PORT`,
		"--providers.a.clientid=x":               "--providers.a.clientid: unknown flag; did you mean --providers.a.client_id?",
		"--providers.a=x":                        "--providers.a: unknown flag",
		"--providers=x":                          "cannot be set as a whole; set its elements, for example providers.KEY.client_id",
		"--scopes=a=b":                           "cannot be set as a whole; set its elements, for example scopes.KEY",
		"--hook[0].url=x":                        "did you mean --hooks[N].url?",
		"--tls.retry.attempts=10":                `tls.retry.attempts ("10") must be at most 9`,
		"--tls=x":                                "--tls: unknown flag",
		"PROG_PROVIDERS__A__CLIENTID=x":          "PROG_PROVIDERS__A__CLIENTID: unknown environment variable; did you mean PROG_PROVIDERS__A__CLIENT_ID?",
		"PROG_HOOKS__X__URL=x":                   "PROG_HOOKS__X__URL: unknown environment variable",
		"PROG_HOOKS__0=x":                        "PROG_HOOKS__0: unknown environment variable",
		"PROG_PROVIDERS__A__CLIENT_ID_FILE=x":    "unknown environment variable",
		"PROG_PROVIDERS_FILE=x":                  "unknown environment variable",
		"PROG_KEYS__A_FILE=/no/such/file":        "PROG_KEYS__A_FILE: open /no/such/file",
		"providers: [x]":                         "providers must be a mapping",
		"providers: {a: x}":                      "providers.a must be a mapping of settings",
		"providers: {a: {client_ip: x}}":         "unknown setting providers.a.client_ip; did you mean providers.a.client_id?",
		"providers: {a: {retry: {attempts: x}}}": `providers.a.retry.attempts ("x") must be a whole number`,
		"hooks: [{url: http://h, on: perhaps}]":  `hooks[0].on ("perhaps") must be true or false`,
		"tls: x":                                 "tls must be a mapping of settings",
		"tls: {min: 0.5}":                        `tls.min ("0.5") must be at least 1`,
	} {
		var environ, args []string
		file := ""
		switch {
		case strings.HasPrefix(given, "--"):
			args = []string{given}
		case strings.HasPrefix(given, "PROG_"):
			environ = []string{given}
		default:
			file = given + "\n"
		}
		if _, _, err := loadElements(t, file, environ, args); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", given, err, want)
		}
	}
}

// A pointer to a struct stays nil until one of its settings is given, and has the defaults of
// its tags then.
func TestOptionalGroups(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]*tls{
		"":                         nil,
		"tls:":                     nil,
		"tls: {}":                  {Min: 1.2},
		"tls: {cert: x}":           {Cert: "x", Min: 1.2},
		"tls: {retry: {}}":         {Min: 1.2, Retry: &retries{Attempts: 3}},
		"--tls.retry.attempts=4":   {Min: 1.2, Retry: &retries{Attempts: 4}},
		"PROG_TLS_CERT=x":          {Cert: "x", Min: 1.2},
		"PROG_TLS_RETRY_ATTEMPTS=": nil,
	} {
		var environ, args []string
		switch {
		case strings.HasPrefix(given, "--"):
			args = []string{given}
		case strings.HasPrefix(given, "PROG_"):
			environ = []string{given}
		}
		file := ""
		if environ == nil && args == nil {
			file = given + "\n"
		}
		got, report, err := loadElements(t, file, environ, args)
		if diff := cmp.Diff(want, got.TLS); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", given, err, diff)
		}
		if err := config.Check(&got, report); err != nil {
			t.Errorf("%s: %v", given, err)
		}
	}
	if err := config.Check(&elements{TLS: &tls{Min: 0.5}}, nil); err == nil || !strings.Contains(err.Error(), `tls.min ("0.5") must be at least 1`) {
		t.Error(err)
	}
}

// Check names the element, also in a struct that was not loaded.
func TestCheckOfElements(t *testing.T) {
	t.Parallel()
	err := config.Check(&elements{
		Providers: map[string]provider{"a": {Retry: &retries{Attempts: 10}}},
		Hooks:     []*hook{nil, {URL: "x"}},
	}, nil)
	for _, want := range []string{`providers.a.retry.attempts ("10") must be at most 9`, `hooks[1].url ("x") must be http://HOST:PORT`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestChangedElements(t *testing.T) {
	t.Parallel()
	var reports []*config.Report
	for _, file := range []string{
		"providers: {a: {client_secret: canary1}}\nhooks: [{url: http://a}, {url: http://b}]\nkeys: {x: canary1}\n",
		"providers: {a: {client_secret: canary2}}\nhooks: [{url: http://a}]\nkeys: {x: canary1, y: canary1}\ntls: {}\n",
	} {
		_, report, err := loadElements(t, file, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		reports = append(reports, report)
	}
	var keys []string
	for _, v := range config.Changed(reports[0], reports[1]) {
		keys = append(keys, v.Key)
	}
	if diff := cmp.Diff([]string{"providers.a.client_secret", "keys.y", "tls.min", "hooks[1].url", "hooks[1].on"}, keys); diff != "" {
		t.Error(diff)
	}
}

func TestUsageOfElements(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	if err := config.Usage(&text, &elements{}, "prog"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"--providers.KEY.client_id  PROG_PROVIDERS__KEY__CLIENT_ID\n         (default none)", "--hooks[N].url  PROG_HOOKS__N__URL", "--keys.KEY  PROG_KEYS__KEY",
		"--providers.KEY.hosts[N].url  PROG_PROVIDERS__KEY__HOSTS__N__URL", "--tls.min  PROG_TLS_MIN\n         (default 1.2)",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in:\n%s", want, text.String())
		}
	}
}

// The nearest name for a misspelled map is that of the map.
func TestSuggestsMaps(t *testing.T) {
	t.Parallel()
	var c struct {
		Labels map[string]string `config:"labels"`
		Tags   []string          `config:"tags"`
	}
	for want, o := range map[string]config.Options{
		"did you mean APP_LABELS?": {Environ: []string{"APP_LABLES=a=b"}},
		"did you mean --labels?":   {Args: []string{"--lables=a=b"}},
	} {
		o.Name = "app"
		if _, err := config.Load(&c, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Load = %v, want %s", err, want)
		}
	}
}

// The tag reload of a struct, or of a list or map of structs, holds for all fields inside.
func TestReloadIsInherited(t *testing.T) {
	t.Parallel()
	type route struct {
		To    string `config:"to"`
		Inner struct {
			Weight int `config:"weight"`
		} `config:"inner"`
	}
	type around struct {
		Level int `config:"level"`
	}
	type settings struct {
		Group    route            `config:"group" reload:"true"`
		Optional *route           `config:"optional" reload:"true"`
		List     []route          `config:"list" reload:"true"`
		Map      map[string]route `config:"map" reload:"true"`
		Texts    map[string]int   `config:"texts" reload:"true"`
		around   `reload:"true"`
		Plain    route `config:"plain"`
	}
	load := func(args ...string) *config.Report {
		report, err := config.Load(&settings{}, config.Options{Args: args})
		if err != nil {
			t.Fatal(err)
		}
		return report
	}
	before := load()
	after := load("--group.to=a", "--group.inner.weight=1", "--optional.inner.weight=1", "--list[0].inner.weight=1", "--map.a.to=b", "--texts.a=1", "--level=1")
	changed := config.Changed(before, after)
	if len(changed) < 7 {
		t.Errorf("changed: %+v", changed)
	}
	for _, v := range append(changed, config.Changed(after, before)...) {
		if !v.Reloadable {
			t.Errorf("%s needs a restart", v.Key)
		}
	}
	for _, v := range config.Changed(before, load("--plain.to=a")) {
		if v.Reloadable {
			t.Errorf("%s needs no restart", v.Key)
		}
	}
}

// Tags that have no effect on a struct are errors, whether a value is given or not.
func TestTagsOfStructs(t *testing.T) {
	t.Parallel()
	type group struct {
		N int `config:"n"`
	}
	for want, dst := range map[string]any{
		"config: a: the tag min has no effect": &struct {
			A group `config:"a" min:"1"`
		}{},
		"config: b: the tag default has no effect": &struct {
			B *group `config:"b" default:"1"`
		}{},
		"config: c: the tag secret has no effect": &struct {
			C []group `config:"c" secret:"true"`
		}{},
		"config: d: the tag oneof has no effect": &struct {
			D map[string]*group `config:"d" oneof:"a"`
		}{},
	} {
		if _, err := config.Load(dst, config.Options{}); err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("err = %v, want %q", err, want)
		}
	}
}

// A value is shown once in its error, a missing element with the source of the later one, and
// empty values of a list are left out.
func TestErrorsAreConcise(t *testing.T) {
	t.Parallel()
	type settings struct {
		Network  netip.Prefix    `config:"network"`
		Networks []netip.Prefix  `config:"networks"`
		Limit    ratelimit.Limit `config:"limit"`
		Names    []string        `config:"names"`
		Stations []struct {
			Name string `config:"name"`
			On   []struct {
				URL string `config:"url"`
			} `config:"on"`
		} `config:"stations"`
	}
	for variable, want := range map[string]string{
		"PROG_NETWORK=abc":               `PROG_NETWORK: network ("abc") is not valid: no '/'`,
		"PROG_NETWORKS=10.0.0.0/8,abc":   `PROG_NETWORKS: networks[1] ("abc") is not valid: no '/'`,
		"PROG_LIMIT=abc":                 `PROG_LIMIT: limit ("abc") is not valid: `,
		"PROG_STATIONS__3__NAME=a":       "PROG_STATIONS__3__NAME: stations[0] is not set, but stations[3] is;",
		"PROG_STATIONS__1__ON__0__URL=a": "PROG_STATIONS__1__ON__0__URL: stations[0] is not set, but stations[1] is;",
	} {
		_, err := config.Load(&settings{}, config.Options{Name: "prog", Environ: []string{variable}})
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Count(err.Error(), "abc") > 1 {
			t.Errorf("%s: %v, want %s", variable, err, want)
		}
	}
	var c settings
	if _, err := config.Load(&c, config.Options{Name: "prog", Environ: []string{"PROG_NAMES=a,, b,"}}); err != nil || !slices.Equal(c.Names, []string{"a", "b"}) {
		t.Errorf("%q, %v", c.Names, err)
	}
}
