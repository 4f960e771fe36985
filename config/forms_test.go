package config_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chassi-go/chassi/config"
	"github.com/google/go-cmp/cmp"
)

// Load ignores variables that the platform sets for services whose names begin with the
// program's. Other unknown variables with its prefix are errors.
func TestVariablesThatThePlatformSets(t *testing.T) {
	t.Parallel()
	for _, v := range []string{
		// Kubernetes, for the services prog and prog-grpc
		"PROG_SERVICE_HOST=10.0.0.1", "PROG_SERVICE_PORT=80", "PROG_SERVICE_PORT_HTTP=80", "PROG_PORT=tcp://10.0.0.1:80",
		"PROG_PORT_80_TCP=tcp://10.0.0.1:80", "PROG_PORT_80_TCP_PROTO=tcp", "PROG_PORT_80_TCP_PORT=80", "PROG_PORT_80_TCP_ADDR=10.0.0.1",
		"PROG_GRPC_SERVICE_HOST=fd00::1", "PROG_GRPC_SERVICE_PORT=9090", "PROG_GRPC_SERVICE_PORT_GRPC_WEB=9091", "PROG_GRPC_PORT=tcp://[fd00::1]:9090",
		"PROG_GRPC_PORT_53_UDP=udp://10.0.0.1:53", "PROG_GRPC_PORT_53_UDP_ADDR=10.0.0.1",
		"PROG_SIZE_PORT=tcp://10.0.0.1:80", // which is a setting too
		// Docker links
		"PROG_GRPC_NAME=/web/prog-grpc",
	} {
		if _, _, err := load(t, "", []string{v}, nil); err != nil {
			t.Error(err)
		}
	}
	if _, _, err := load(t, "", []string{"PROG_NAME=/web/prog", "PROG_ENV_PATH=/bin"}, nil); err != nil {
		t.Error(err)
	}
	for _, v := range []string{
		"PROG_GRPC_SERVICE_HOST=nonsense", "PROG_GRPC_SERVICE_PORT=many", "PROG_GRPC_PORT=9090", "PROG_GRPC_PORT=http://10.0.0.1:80",
		"PROG_NAME=joe", "PROG_ENV_PATH=/bin", "PROG_SERVICE=x",
	} {
		if _, _, err := load(t, "", []string{v}, nil); err == nil || !strings.Contains(err.Error(), "unknown environment variable") {
			t.Errorf("%s: %v", v, err)
		}
	}
	for name, environ := range map[string][]string{
		"notify": {"NOTIFY_SOCKET=/run/x"}, "listen": {"LISTEN_FDS=1", "LISTEN_PID=2"}, "invocation": {"INVOCATION_ID=x"},
		"nomad": {"NOMAD_ALLOC_ID=x"}, "journal": {"JOURNAL_STREAM=8:1"}, "my-prog": {"MY_PROG_ON=true", "MY-PROG_X=1"},
	} {
		var s struct {
			On bool `config:"on"`
		}
		if _, err := config.Load(&s, config.Options{Name: name, Environ: environ}); err != nil || s.On != (name == "my-prog") {
			t.Errorf("%s: %v, on is %v", name, err, s.On)
		}
	}
}

// An empty variable is not set. An empty value in a file or flag is a value, but is not
// permitted for text that has a default.
func TestEmptyValues(t *testing.T) {
	t.Parallel()
	s, report, err := load(t, "http:\n  origins: [a]\n", []string{"PROG_CONFIG=", "PROG_HTTP_ADDR=", "PROG_SIZE=", "PROG_URL_FILE=", "PROG_KEY=", "PROG_NONSENSE="}, []string{"--http.origins="})
	if err != nil || s.HTTP.Addr != "127.0.0.1:8080" || s.Size != 7 || len(s.HTTP.Origins) != 0 {
		t.Errorf("%v: %+v", err, s)
	}
	for _, v := range report.Values {
		if strings.HasPrefix(v.Source, "PROG_") {
			t.Errorf("%s comes from %s", v.Key, v.Source)
		}
	}
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, given := range map[string]func() error{
		`http.addr ("") must not be empty; leave it out for the default, 127.0.0.1:8080`: func() error { _, _, err := load(t, "", nil, []string{"--http.addr="}); return err },
		`url ("") must not be empty`:         func() error { _, _, err := load(t, "url: ''\n", nil, nil); return err },
		"contains no value; write the value": func() error { _, _, err := load(t, "", []string{"PROG_KEY_FILE=" + empty}, nil); return err },
		"--config requires a value":          func() error { _, _, err := load(t, "", nil, []string{"--config="}); return err },
	} {
		if err := given(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// Load returns an error for a struct that cannot be configured, whether a value is given or not.
func TestStructsThatCannotBeConfigured(t *testing.T) {
	t.Parallel()
	type node struct {
		Next *node `config:"next"`
	}
	type tree struct {
		Kids []tree `config:"kids"`
	}
	type options struct {
		A string `config:"a"`
	}
	for want, dst := range map[string]any{
		"config: c: the type chan int cannot be configured": &struct {
			C chan int `config:"c"`
		}{},
		"config: p.next: the type config_test.node contains itself": &struct {
			P *node `config:"p"`
		}{},
		"config: kids[N]: the type config_test.tree contains itself": &tree{},
		"config: hooks[N]: the type struct {} has no settings": &struct {
			Hooks []struct{} `config:"hooks"`
		}{},
		"config: m: the type map[string]map[string]string": &struct {
			M map[string]map[string]string `config:"m"`
		}{},
		`default of hooks[N].level must be at most 5`: &struct {
			Hooks []struct {
				Level int `config:"level" default:"6" max:"5"`
			} `config:"hooks"`
		}{},
		"config: m: the type map[int]string": &struct {
			M map[int]string `config:"m"`
		}{},
		"config: i: the type interface {}": &struct {
			I any `config:"i"`
		}{},
		"config: hooks[N].f: the type func()": &struct {
			Hooks []struct {
				F func() `config:"f"`
			} `config:"hooks"`
		}{},
		"the field a is not exported": &struct {
			a string `config:"a"`
		}{},
		"two settings have the name a": &struct {
			A string `config:"a"`
			B string `config:"a"`
		}{},
		"have the same name PROG_A_B": &struct {
			A string `config:"a.b"`
			B string `config:"a_b"`
		}{},
		"have the same name PROG_KEY_FILE": &struct {
			Key  config.Secret `config:"key"`
			File string        `config:"key_file"`
		}{},
		`the tag max:"many" must be a whole number`: &struct {
			N int `config:"n" max:"many"`
		}{},
		`the tag max:"300" must be a whole number from 0 to 255`: &struct {
			N uint8 `config:"n" max:"300"`
		}{},
		`default of n must be a whole number from -128 to 127`: &struct {
			N int8 `config:"n" default:"128"`
		}{},
		`default of n must be a number in the range of float32`: &struct {
			N float32 `config:"n" default:"1e39"`
		}{},
		`default of n must be a duration such as 500ms, 10s or 1h30m, of at most 2562047h`: &struct {
			N time.Duration `config:"n" default:"2562048h"`
		}{},
		"config: the configuration must not be a nil *struct {}": (*struct{})(nil),
		"must be a pointer to a struct, not *int":                new(int),
		"must be a pointer to a struct, not <nil>":               nil,
		"config: an embedded struct: the tag default has no effect": &struct {
			options `default:"x"`
		}{},
		"the tag min is only for numbers and durations": &struct {
			S string `config:"s" min:"1"`
		}{},
	} {
		if _, err := config.Load(dst, config.Options{Name: "prog"}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

type formats struct {
	Addr string   `config:"addr" format:"addr|off"`
	URL  string   `config:"url" format:"urls:nats,tls|embedded" mask:"url"`
	One  string   `config:"one" format:"url:http,https"`
	CA   string   `config:"ca" format:"file"`
	Many []string `config:"many" format:"url:http"`

	Waits  []time.Duration `config:"waits" max:"1m"`
	Keys   []string        `config:"keys" oneof:"a,b" secret:"true"`
	Masked []string        `config:"masked" format:"url:http" mask:"url"`
}

func TestFormats(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		"--addr=:8080":                    "",
		"--addr=off":                      "",
		"--addr=[::1]:0":                  "",
		"--addr=nonsense":                 `--addr: addr ("nonsense") must be HOST:PORT with a port from 0 to 65535, such as 127.0.0.1:8080, or off`,
		"--addr=h:70000":                  "must be HOST:PORT",
		"--addr=h:-1":                     "must be HOST:PORT",
		"--addr=a b:1":                    "must be HOST:PORT",
		"--addr=http://h:1":               "must be HOST:PORT",
		"--url=nats://u:p@h:1,tls://h":    "",
		"--url=embedded":                  "",
		"--url=foo://u:canary@h":          `--url: url ("foo://u:***@h") must be nats://HOST:PORT (or tls), several with commas between, or embedded`,
		"--url=nats://u:can/ary@h":        `url ("***") must be`,
		"--url=nats://h,":                 "several with commas between",
		"--one=http://h:0":                "with a port from 1 to 65535",
		"--one=https://h/p?a=b":           "",
		"--one=h:80":                      "must be http://HOST:PORT (or https)",
		"--url=nats://h,foo://i":          "several with commas between (number 2 is not), or embedded",
		"--many=http://a,ftp://b":         `--many: many[1] ("ftp://b") must be http://HOST:PORT`,
		"--waits=1s,2":                    `--waits: waits[1] ("2") must be a duration`,
		"--waits=1s,2s,1h":                `--waits: waits[2] ("1h") must be at most 1m`,
		"--keys=a,canary":                 `--keys: keys[1] must be one of a, b`,
		"--masked=http://u:80,canary,p@h": `--masked: masked[1] ("***") must be http`,
		"--ca=/no/such/file":              "", // which Check looks at
	} {
		_, err := config.Load(new(formats), config.Options{Name: "prog", Args: []string{given}})
		if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary")) {
			t.Errorf("%s: %v, want %q", given, err, want)
		}
	}
}

// Check returns the errors that Load returns, and those of files that cannot be read.
func TestCheck(t *testing.T) {
	t.Parallel()
	var f formats
	report, err := config.Load(&f, config.Options{Name: "prog", Args: []string{"--ca=/no/such/file"}})
	if err != nil {
		t.Fatal(err)
	}
	f.Addr, f.Many = "nonsense", []string{"x"}
	err = config.Check(&f, report)
	for _, want := range []string{`addr ("nonsense") must be HOST:PORT`, `--ca: ca ("/no/such/file") must be a file that can be read: no such file`, `many[0] ("x") must be http://`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if err := config.Check(&settings{}, nil); err != nil {
		t.Errorf("zero values stand for defaults: %v", err)
	}
	if err := config.Check(&formats{CA: t.TempDir()}, nil); err == nil || !strings.Contains(err.Error(), "not a directory") {
		t.Error(err)
	}
}

// Changed compares secrets, and passwords in URLs, and does not show them.
func TestChangedSecrets(t *testing.T) {
	t.Parallel()
	reports := make(map[string]*config.Report)
	for _, secret := range []string{"canary1", "canary2"} {
		_, r, err := load(t, "", []string{"PROG_KEY=" + secret, "PROG_URL=redis://u:" + secret + "@h"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		reports[secret] = r
	}
	var keys []string
	for _, v := range config.Changed(reports["canary1"], reports["canary2"]) {
		keys = append(keys, v.Key)
		if strings.Contains(fmt.Sprintf("%+v %#v", v, v), "canary") {
			t.Errorf("a change shows the secret: %+v", v)
		}
	}
	if diff := cmp.Diff([]string{"url", "key"}, keys); diff != "" {
		t.Error(diff)
	}
	if c := config.Changed(reports["canary1"], reports["canary1"]); len(c) != 0 {
		t.Errorf("nothing has changed, but %v", c)
	}
}

func TestHelpAndUnexpectedArguments(t *testing.T) {
	t.Parallel()
	for _, args := range []string{"--help", "-h", "--on --help", "serve -h"} {
		if _, err := config.Load(new(settings), config.Options{Name: "prog", Args: strings.Fields(args)}); !errors.Is(err, config.ErrHelp) {
			t.Errorf("%s: %v", args, err)
		}
	}
	_, err := config.Load(new(settings), config.Options{Name: "prog", Args: []string{"hlep", "--kye", "canary"}})
	if err == nil || !strings.Contains(err.Error(), `unexpected argument "hlep": settings are flags such as --http.addr=VALUE`) || strings.Contains(err.Error(), "canary") {
		t.Errorf("%v", err)
	}
	var s struct {
		Help bool `config:"help"`
	}
	if _, err := config.Load(&s, config.Options{Name: "prog", Args: []string{"--help"}}); err != nil || !s.Help {
		t.Errorf("a setting of that name: %v, %+v", err, s)
	}
}

func TestUsageOfGroups(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	if err := config.Usage(&text, &settings{}, "prog", "http", "key"); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text.String(), "--http.origins") || !strings.Contains(text.String(), "--key") || strings.Contains(text.String(), "--level") {
		t.Errorf("usage of http and key:\n%s", text.String())
	}
}

// Without the name of a program no variable belongs to it.
func TestNoNameNoVariables(t *testing.T) {
	t.Parallel()
	var s struct {
		Home string `config:"home" default:"unset" help:"a setting"`
	}
	report, err := config.Load(&s, config.Options{Environ: []string{"HOME=/home/user", "_HOME=a", "PATH=/bin"}})
	if err != nil || s.Home != "unset" {
		t.Errorf("got %q, %v", s.Home, err)
	}
	if report == nil {
		t.Error("no report")
	}
}
