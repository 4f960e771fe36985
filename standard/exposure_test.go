package standard_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/chassi-go/chassi/config"
	"github.com/chassi-go/chassi/standard"
)

// warnings starts and stops a program that is configured so, and returns what it warned of, as
// "kind setting".
func warnings(t *testing.T, options config.Options, prepare func(*assembled)) (found []string, text string) {
	t.Helper()
	var c Config
	options.Name = "test"
	options.Args = append(options.Args, "--shutdown.drain=0s", "--start.timeout=20s")
	if _, err := config.Load(&c, options); err != nil {
		t.Fatal(err)
	}
	out := new(log)
	std, err := assemble(t.Context(), c, standard.Options{Log: out})
	if err != nil {
		t.Fatal(err)
	}
	if prepare != nil {
		prepare(std)
	}
	result := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { result <- std.Run(ctx) }()
	select {
	case <-std.Started():
		cancel()
		err = <-result
	case err = <-result:
	}
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		var l struct{ Level, Exposure, Setting, Fix string }
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		if l.Exposure != "" {
			found = append(found, l.Exposure+" "+l.Setting)
			if l.Level != "WARN" || l.Fix == "" {
				t.Errorf("want a warning that says what to do: %s", line)
			}
		}
	}
	return found, out.String()
}

// loopback has nothing on an address that other machines reach.
var loopback = []string{"--http.addr=127.0.0.1:0", "--admin.addr=localhost:0", "--grpc.addr=[::1]:0", "--nats.embedded.addr=127.0.0.1:0"}

// R82: a listener that other machines can reach is warned of where it asks for no
// credentials or is not encrypted.
func TestWarnsOfReachableListeners(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args []string
		want []string
	}{
		"loopback":           {nil, nil},
		"all":                {[]string{"--http.addr=:0", "--admin.addr=0.0.0.0:0", "--grpc.addr=[::]:0", "--nats.url=embedded", "--nats.embedded.addr=0.0.0.0:0"}, []string{"http http.addr", "admin admin.addr", "grpc grpc.addr", "nats nats.embedded.addr"}},
		"TLS at a proxy":     {[]string{"--http.addr=:0", "--http.trusted_proxies=10.0.0.0/8", "--grpc.addr=:0", "--grpc.trusted_proxies=10.0.0.0/8"}, nil},
		"off":                {[]string{"--grpc.addr=off", "--nats.url=off", "--nats.embedded.addr=0.0.0.0:0"}, nil},
		"accepted":           {[]string{"--http.addr=:0", "--admin.addr=:0", "--grpc.addr=:0", "--nats.url=embedded", "--nats.embedded.addr=0.0.0.0:0", "--exposure.accepted=admin,http,grpc,nats"}, nil},
		"some accepted":      {[]string{"--http.addr=:0", "--admin.addr=:0", "--exposure.accepted=http"}, []string{"admin admin.addr"}},
		"an address in IPv6": {[]string{"--admin.addr=[::ffff:127.0.0.1]:0"}, nil},
	} {
		credentials := "--nats.embedded.credentials_dir=" + filepath.Join(t.TempDir(), "clients")
		args := slices.DeleteFunc(append(slices.Clone(loopback), credentials), func(arg string) bool {
			key, _, _ := strings.Cut(arg, "=")
			return slices.ContainsFunc(c.args, func(other string) bool { return strings.HasPrefix(other, key+"=") })
		})
		if found, text := warnings(t, config.Options{Args: append(args, c.args...)}, nil); !slices.Equal(found, c.want) {
			t.Errorf("%s: warned of %q, want %q:\n%s", name, found, c.want, text)
		}
	}
}

// R76: a secret among the arguments is seen by all users of the machine.
func TestWarnsOfSecretsOnTheCommandLine(t *testing.T) {
	t.Parallel()
	o := config.Options{
		Args:    append(slices.Clone(loopback), "--sentry.dsn=http://canary@127.0.0.1:1/1"),
		Environ: []string{"TEST_TRACE_ENDPOINT=http://u:canary@127.0.0.1:1"}, // seen by this user alone
	}
	found, text := warnings(t, o, nil)
	if !slices.Equal(found, []string{"arguments sentry.dsn"}) || !strings.Contains(text, "TEST_SENTRY_DSN_FILE") || strings.Contains(text, "canary") {
		t.Errorf("warned of %q:\n%s", found, text)
	}
	o.Args = append(o.Args, "--exposure.accepted=arguments")
	if found, _ := warnings(t, o, nil); found != nil {
		t.Errorf("accepted, and warned of %q", found)
	}
}

// R82: files that every user of the machine can read or change.
func TestWarnsOfOpenFiles(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("modes mean nothing there")
	}
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const secret = "sentry:\n  dsn: http://canary@127.0.0.1:1/1\n"
	for name, c := range map[string]struct {
		file    string
		mode    os.FileMode
		environ []string
		own     string
		want    []string
	}{
		"private":                    {secret, 0o600, []string{"TEST_TRACE_ENDPOINT_FILE=" + write("u1", "http://127.0.0.1:1", 0o600)}, write("db1", "", 0o600), nil},
		"a secret in the file":       {secret, 0o644, nil, "", []string{"files config"}},
		"no secret in the file":      {"log:\n  level: info\n", 0o644, nil, "", nil},
		"changed by all":             {"log:\n  level: info\n", 0o646, nil, "", []string{"files config"}},
		"a secret's own file":        {"", 0o600, []string{"TEST_TRACE_ENDPOINT_FILE=" + write("u2", "http://127.0.0.1:1", 0o604)}, "", []string{"files TEST_TRACE_ENDPOINT_FILE"}},
		"a file of the program":      {"", 0o600, nil, write("db2", "", 0o644), []string{"files database.url"}},
		"a file of the group's":      {secret, 0o640, nil, write("db3", "", 0o660), nil},
		"two of them, and accepted":  {secret + "exposure:\n  accepted: [files]\n", 0o644, nil, write("db4", "", 0o644), nil},
		"a file that does not exist": {"", 0o600, nil, filepath.Join(dir, "absent"), nil},
	} {
		path := write("config-"+strings.ReplaceAll(name, " ", "-"), c.file, c.mode)
		found, text := warnings(t, config.Options{Args: loopback, Environ: c.environ, File: path}, func(s *assembled) {
			s.Private("database.url", config.DatabaseFile, c.own)
		})
		if !slices.Equal(found, c.want) || strings.Contains(text, "canary") {
			t.Errorf("%s: warned of %q, want %q:\n%s", name, found, c.want, text)
		}
		if len(c.want) > 0 && (!strings.Contains(text, `"mode":"06`) || !strings.Contains(text, `"fix":"chmod `)) {
			t.Errorf("%s: want mode and command:\n%s", name, text)
		}
	}
}

func TestExposureAcceptsKnownNames(t *testing.T) {
	t.Parallel()
	c := defaults(t)
	c.Exposure.Accepted = []string{"admin", "everything"}
	a, err := assemble(t.Context(), c, standard.Options{Log: new(log)})
	if err != nil {
		t.Fatal(err)
	}
	err = a.Run(t.Context())
	if _, usage := errors.AsType[standard.UsageError](err); !usage || !strings.Contains(err.Error(), `exposure.accepted ("everything") must be one of arguments, files, admin, http, grpc, nats`) {
		t.Errorf("%v", err)
	}
}

// A listener of the program's own is warned of, and accepted, by its name.
func TestExposureOfOwnListeners(t *testing.T) {
	t.Parallel()
	own := func(a *assembled) {
		a.Listens(standard.Listener{Name: "debug", Setting: "debug.addr", Addr: "0.0.0.0:0", Risk: "it can be reached", Fix: "listen on 127.0.0.1"})
	}
	if found, text := warnings(t, config.Options{Args: loopback}, own); !slices.Equal(found, []string{"debug debug.addr"}) {
		t.Errorf("warned of %q:\n%s", found, text)
	}
	if found, text := warnings(t, config.Options{Args: append(slices.Clone(loopback), "--exposure.accepted=debug")}, own); found != nil {
		t.Errorf("accepted, and warned of %q:\n%s", found, text)
	}
}

// So are the files with the credentials of a NATS client (R82).
func TestWarnsOfOpenNATSKeys(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("modes mean nothing there")
	}
	t.Parallel()
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, setting := range []string{"nats.nkey_file", "nats.credentials_file", "nats.responses.nkey_file", "nats.responses.credentials_file"} {
		found, text := warnings(t, config.Options{Args: append(slices.Clone(loopback), "--nats.url=off", "--"+setting+"="+path)}, nil)
		if want := []string{"files " + setting}; !slices.Equal(found, want) {
			t.Errorf("warned of %q, want %q:\n%s", found, want, text)
		}
	}
}
