package config_test

import (
	"strings"
	"testing"
	"time"

	"github.com/chassi-go/chassi/config"
	"github.com/google/go-cmp/cmp"
)

// Values of the struct before Load are defaults that override the tags.
func TestDefaultsInCode(t *testing.T) {
	t.Parallel()
	s := settings{Size: 9, Level: "warn"}
	s.HTTP.Origins = []string{"a", "b"}
	var usage strings.Builder
	if err := config.Usage(&usage, &s, "prog"); err != nil || !strings.Contains(usage.String(), "(default 9)") || !strings.Contains(usage.String(), "(default a,b)") {
		t.Errorf("%v:\n%s", err, usage.String())
	}
	report, err := config.Load(&s, config.Options{Name: "prog", Environ: []string{"PROG_LEVEL=debug"}})
	if err != nil || s.Size != 9 || s.Level != "debug" || len(s.HTTP.Origins) != 2 || s.HTTP.Addr != "127.0.0.1:8080" {
		t.Errorf("%v: %+v", err, s)
	}
	for _, v := range report.Values {
		if v.Key == "size" && (v.Source != "default" || v.Value != "9") {
			t.Errorf("%+v", v)
		}
	}
	if _, err := config.Load(&settings{Level: "loud"}, config.Options{Name: "prog"}); err == nil || !strings.Contains(err.Error(), "default of level must be one of") {
		t.Errorf("a default that is not permitted: %v", err)
	}
}

// library is what a package brings; its own program sets other defaults.
type library struct {
	Shared  bool              `config:"shared" default:"true"`
	Workers int               `config:"workers" default:"4" max:"8"`
	Pause   time.Duration     `config:"pause" default:"1s"`
	Names   []string          `config:"names" default:"a,b"`
	Share   *float64          `config:"share" default:"0.5"`
	Labels  map[string]string `config:"labels" default:"a=b"`
	Hooks   []hooked          `config:"hooks"`
	TLS     *tls              `config:"tls"`
	Addr    string            `config:"addr" default:":80"`
	Note    string            `config:"note"`
}

type hooked struct {
	Retry bool `config:"retry" default:"true"`
	Level int  `config:"level" default:"3"`
}

// SetDefaults makes false the default of a setting whose tag says true.
func (h *hooked) SetDefaults() { h.Retry = false }

type program struct {
	library
	Nested library `config:"nested"`
	set    func(*program)
}

func (p *program) SetDefaults() { p.set(p) }

// A method SetDefaults makes any value the default, also zero, of embedded structs too.
func TestSetDefaults(t *testing.T) {
	t.Parallel()
	p := program{set: func(p *program) {
		for _, l := range []*library{&p.library, &p.Nested} {
			l.Shared, l.Workers, l.Pause, l.Names, l.Share, l.Labels = false, 0, 0, nil, nil, map[string]string{"c": "d"}
			l.Hooks, l.TLS = []hooked{{Level: 4}}, &tls{Cert: "x"}
		}
	}}
	p.Note = "before Load"
	report, err := config.Load(&p, config.Options{Name: "prog", Args: []string{"--nested.workers=2", "--hooks[1].level=5"}})
	if err != nil {
		t.Fatal(err)
	}
	want := library{Labels: map[string]string{"c": "d"}, Hooks: []hooked{{Retry: true, Level: 4}, {Level: 5}}, TLS: &tls{Cert: "x", Min: 1.2}, Addr: ":80", Note: "before Load"}
	if diff := cmp.Diff(want, p.library); diff != "" {
		t.Error(diff)
	}
	want.Workers, want.Hooks, want.Note = 2, []hooked{{Retry: true, Level: 4}}, ""
	if diff := cmp.Diff(want, p.Nested); diff != "" {
		t.Error(diff)
	}
	for _, v := range report.Values {
		given := v.Key == "nested.workers" || v.Key == "hooks[1].level"
		if (v.Source == "default") == given {
			t.Errorf("%s comes from %s", v.Key, v.Source)
		}
	}
}

func TestSetDefaultsThatAreNotPermitted(t *testing.T) {
	t.Parallel()
	for want, set := range map[string]func(*program){
		"default of workers must be at most 8":                                     func(p *program) { p.Workers = 9 },
		"default of addr must not be empty, because the default tag has the value": func(p *program) { p.Addr = "" },
		"default of nested.tls.min must be at least 1":                             func(p *program) { p.Nested.TLS = &tls{Min: 0.5} },
		"default of nested.tls.retry.attempts must be at most 9":                   func(p *program) { p.Nested.TLS = &tls{Retry: &retries{Attempts: 10}} },
	} {
		if _, err := config.Load(&program{set: set}, config.Options{Name: "prog"}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// Usage prints a default as its tag does, unless the program has another one.
func TestUsageOfDefaults(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	p := program{set: func(p *program) { p.Shared, p.Nested.Pause = false, time.Minute }}
	if err := config.Usage(&text, &p, "prog"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"--pause  PROG_PAUSE\n         (default 1s)", "--nested.pause  PROG_NESTED_PAUSE\n         (default 1m0s)", "--shared  PROG_SHARED\n        \n"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in:\n%s", want, text.String())
		}
	}
}
