package config_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chassi-go/chassi/config"
)

// everything has a setting of every kind.
type everything struct {
	settings
	forms
	Formats  formats  `config:"formats"`
	Elements elements `config:"elements"`
	Defaults library  `config:"defaults"`
}

// secrets returns the secrets that were loaded.
func (s *everything) secrets() []config.Secret {
	all := append(slices.Collect(maps.Values(s.Elements.Keys)), s.Key)
	for _, p := range s.Elements.Providers {
		all = append(all, p.Secret)
	}
	for _, h := range s.Hooks {
		all = append(all, h.URL)
	}
	return append(all, s.Tokens...)
}

// FuzzFile checks that no file makes Load panic, or show a secret.
func FuzzFile(f *testing.F) {
	for _, seed := range []string{
		"", "http:\n  addr: x\n", "a: &a [*a]\n", "key: canary\n", "key: *canary\n", "? [a]\n: b\n", "on: !!binary canary\n", "<<: {on: true}\n",
		"hooks: [{url: canary}, {on: {level: 7}}]\n", "labels: {a: b, a: c}\n", "tokens: [canary]\n", "url: nats://u:canary@h\n", "share: .nan\n",
		"elements: {providers: {a.b: {client_secret: canary, retry: {}, hosts: [{url: http://a}]}}, hooks: [~, {on: true}], keys: {A: canary}, scopes: {x: [a]}, tls: {}}\n",
		"elements: {providers: {a: &a {client_id: x}, b: *a, <<: *a}, keys: [canary], tls: {retry: ~}}\ndefaults: {labels: {}, hooks: []}\n",
	} {
		f.Add(seed)
	}
	path := filepath.Join(f.TempDir(), "prog.yaml")
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		checkLoad(t, config.Options{Name: "prog", File: path})
	})
}

// FuzzEnvironment checks the same of variables and arguments, which have NUL between.
func FuzzEnvironment(f *testing.F) {
	f.Add("PROG_HTTP_ADDR=x\x00PROG_KEY=canary", "--on\x00--size=1")
	f.Add("PROG_PORT=tcp://1.1.1.1:1\x00PROG_X_ENV_Y=z\x00=\x00PROG_", "--=x\x00-\x00--\x00a")
	f.Add("PROG_LABELS=a=b,=,c=\x00PROG_LIMITS=a=1s", "--key\x00canary\x00--url=nats://canary@h:1/%zz")
	f.Add("PROG_KEY_FILE=/dev/null\x00PROG_CONFIG=", "--hooks=x\x00--share\x00NaN\x00--formats.addr=[::1]:1")
	f.Add("PROG_ELEMENTS__KEYS__A=canary\x00PROG_ELEMENTS_KEYS__B=canary\x00PROG_ELEMENTS_HOOKS__2__ON=x\x00PROG_ELEMENTS_PROVIDERS__A__B__CLIENT_SECRET=canary", "--elements.hooks[0].on\x00--elements.keys=a=canary")
	f.Add("PROG_DEFAULTS_HOOKS__0__LEVEL=2\x00PROG_ELEMENTS_PROVIDERS__X__HOSTS__1__URL=http://u:canary@h", "--elements.providers.a.b.client_id=x\x00--elements.tls.retry.attempts\x004\x00--hooks[1].url=canary")
	f.Fuzz(func(t *testing.T, environ, args string) {
		o := config.Options{Name: "prog", Positional: true}
		for variable := range strings.SplitSeq(environ, "\x00") {
			if !strings.Contains(variable, "_FILE=") && !strings.HasPrefix(variable, "PROG_CONFIG=") { // no file of this machine
				o.Environ = append(o.Environ, variable)
			}
		}
		if !strings.Contains(args, "config") {
			o.Args = strings.Split(args, "\x00")
		}
		checkLoad(t, o)
	})
}

func checkLoad(t *testing.T, o config.Options) {
	t.Helper()
	var s everything
	report, err := config.Load(&s, o)
	if errors.Is(err, config.ErrHelp) {
		return
	}
	if report == nil {
		t.Fatal(err)
	}
	var shown strings.Builder
	_, _ = report.WriteTo(&shown)
	fmt.Fprint(&shown, report.Args, s.Key, s.Tokens, err)
	for _, secret := range s.secrets() {
		if len(secret) > 20 && strings.Contains(shown.String(), secret.Reveal()) {
			t.Errorf("the secret %q is shown:\n%s", secret.Reveal(), shown.String())
		}
	}
	if err == nil {
		if err := config.Check(&s, report); err != nil && !strings.Contains(err.Error(), "must be a file") {
			t.Errorf("Load accepts what Check does not: %v", err)
		}
	}
}
