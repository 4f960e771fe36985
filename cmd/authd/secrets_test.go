package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/config"
	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/standard"
	"github.com/chassi-go/chassi/standard/amqpserver"
	"github.com/chassi-go/chassi/standard/grpcserver"
	"github.com/chassi-go/chassi/standard/natsembedded"
	"github.com/chassi-go/chassi/standard/redisdb"
	"github.com/chassi-go/chassi/telemetry/exporters"
)

// schemes are those of the settings that hold a URL.
var schemes = map[string]string{
	"nats.url": "nats", "nats.responses.url": "tls", "amqp.url": "amqp", "amqp.responses.url": "amqps", "redis.url": "redis",
	"database.url": "postgres", "trace.endpoint": "http", "sentry.dsn": "https",
}

// places are where a URL can hold a secret, in its right place or in one that makes the URL
// malformed. S is the scheme; the secrets contain "canary".
var places = []string{
	"S://user:canary@127.0.0.1:1/1", "S://:canary@127.0.0.1:1/1", "S://user:can%2Fcanary@127.0.0.1:1/1",
	"S://127.0.0.1:1/1?password=canary", "S://127.0.0.1:1/1?sslpassword=canary", "S://127.0.0.1:1/1?token=canary", "S://127.0.0.1:1/1?access_token=canary",
	"S://127.0.0.1:1/1?api_key=canary", "S://127.0.0.1:1/1?Secret=canary", "S://127.0.0.1:1/1?sig=canary", "S://127.0.0.1:1/1?a=b&passwd=canary",
	"S://127.0.0.1:1/1#canary", "S://user:canary@127.0.0.1:1,S://user:canary@127.0.0.1:2",
	"S://user:can/canary@127.0.0.1:1", "S://user:%zzcanary@127.0.0.1:1", "S://user:can?canary@127.0.0.1:1", "S://user:can#canary@127.0.0.1:1",
	"S://user:canary@127.0.0.1:x", "S://user:canary@127.0.0.1:99999", "S://user:canary@:1", "S://user:canary@", "S:user:canary@127.0.0.1:1",
	"user:canary@127.0.0.1:1", "//user:canary@127.0.0.1:1", "other://user:canary@127.0.0.1:1", " S://user:canary@127.0.0.1:1",
	"S://user:canary@127.0.0.1:1 ", "host=127.0.0.1 password=canary", "password=canary", "S://user:can canary@127.0.0.1:1",
	"S://user:canary@127.0.0.1:1\n", "S://user:can\x01canary@127.0.0.1:1", "S://user:canary@127.0.0.1:1/%zz", "S://127.0.0.1:1/1?password=canary;x=1",
	"S://user:can,S://canary@127.0.0.1:1",
}

func inSetting(shape, setting string) string {
	return strings.ReplaceAll(shape, "S:", schemes[setting]+":")
}

// urlLike are the names of settings that may hold a URL.
var urlLike = regexp.MustCompile(`(^|[._])(url|urls|dsn|endpoint|webhook|target)$`)

// The table of secrets contains every setting that is a URL.
func TestTableOfSecretsIsComplete(t *testing.T) {
	t.Parallel()
	report, err := config.Load(defaults(), config.Options{Name: "authd"})
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, v := range report.Values {
		if urlLike.MatchString(v.Key) {
			found++
			if schemes[v.Key] == "" {
				t.Errorf("%s is not in the table", v.Key)
			}
		}
	}
	if found != len(schemes) {
		t.Errorf("%d settings that may hold a URL, and %d in the table", found, len(schemes))
	}
}

// No setting, from wherever it comes, and no place in it shows its secret in the report of
// the configuration, in its arguments, or in an error.
func TestSecretsInURLsAreNotShownByTheConfiguration(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for setting := range schemes {
		for i, shape := range places {
			value := inSetting(shape, setting)
			env := "AUTHD_" + strings.ToUpper(strings.ReplaceAll(setting, ".", "_"))
			file, secret := filepath.Join(dir, fmt.Sprint(setting, i, ".yaml")), filepath.Join(dir, fmt.Sprint(setting, i))
			group, word, _ := strings.Cut(setting, ".")
			yaml := fmt.Sprintf("%s: {%s: %q}\n", group, word, value)
			if outer, inner, nested := strings.Cut(word, "."); nested {
				yaml = fmt.Sprintf("%s: {%s: {%s: %q}}\n", group, outer, inner, value)
			}
			for path, text := range map[string]string{file: yaml, secret: value} {
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for source, o := range map[string]config.Options{
				"flag":        {Args: []string{"--" + setting + "=" + value}},
				"variable":    {Environ: []string{env + "=" + value}},
				"file":        {File: file},
				"secret file": {Environ: []string{env + "_FILE=" + secret}},
				"wrong flag":  {Args: []string{"--" + setting + "x=" + value, "--" + setting + "y", value, "--" + setting, value, "--" + setting, value}},
			} {
				o.Name = "authd"
				c := defaults()
				report, err := config.Load(c, o)
				shown := fmt.Sprintln(err)
				if report != nil {
					var table strings.Builder
					_, _ = report.WriteTo(&table)
					shown += table.String() + fmt.Sprintf("%q %+v", report.Args, report.Values)
				}
				if source == "flag" {
					var usage strings.Builder
					_ = config.Usage(&usage, c, "authd") // with the value as a default
					shown += usage.String()
				}
				if strings.Contains(shown, "canary") {
					t.Errorf("%s from a %s: %q is shown:\n%s", setting, source, value, lineWith(shown, "canary"))
				}
			}
		}
	}
}

func lineWith(text, word string) string {
	for line := range strings.Lines(text) {
		if strings.Contains(line, word) {
			return line
		}
	}
	return ""
}

type lockedLog struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lockedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Nor does a program that runs with them, and cannot reach what they name: not in its log,
// readiness, metrics, command line or profiles, nor in the error of its start. Settings that
// are refused are left out.
func TestSecretsInURLsAreNotShownAtRunTime(t *testing.T) {
	t.Parallel()
	ran := 0
	for _, shape := range places {
		args := []string{
			"--http.addr=127.0.0.1:0", "--grpc.addr=off", "--admin.addr=127.0.0.1:0", "--shutdown.drain=0s", "--log.level=debug",
			"--trace.exporter=otlp-http", "--trace.ratio=1",
		}
		for setting := range schemes {
			flag := "--" + setting + "=" + inSetting(shape, setting)
			if _, err := config.Load(defaults(), config.Options{Name: "authd", Args: []string{flag}}); err == nil {
				args = append(args, flag)
			}
		}
		c := defaults()
		c.Database.ConnectTimeout, c.Database.QueryTimeout = time.Second, time.Second
		if _, err := config.Load(c, config.Options{Name: "authd", Args: args}); err != nil {
			t.Fatal(err)
		}
		shown := runAway(t, c)
		if strings.Contains(shown, "canary") {
			t.Errorf("%q is shown: %s", shape, lineWith(shown, "canary"))
		}
		if strings.Contains(shown, "not_ready") || strings.Contains(shown, `"listening"`) {
			ran++
		}
	}
	if ran < 5 {
		t.Errorf("only %d programs started", ran)
	}
}

// runAway runs what standard makes of the configuration for a moment, and returns all that it shows.
func runAway(t *testing.T, c *Config) string {
	t.Helper()
	out := new(lockedLog)
	db, err := database.Open(t.Context(), c.Database)
	fmt.Fprintln(out, err)
	if err == nil {
		fmt.Fprintln(out, db.Check(t.Context()))
		db.Close()
	}
	c.Trace.Exporters = exporters.All()
	std, err := standard.New(t.Context(), "authd", "1", c.Config, standard.Options{Log: out})
	if err != nil {
		fmt.Fprintln(out, err)
		c.Sentry.DSN = "" // of which Load knows only that it is secret
		std, err = standard.New(t.Context(), "authd", "1", c.Config, standard.Options{Log: out})
	}
	if err != nil {
		return out.String() + err.Error()
	}
	_, err = redisdb.Add(std, c.Redis)
	fmt.Fprintln(out, err)
	grpcserver.Add(std, c.GRPC)
	natsembedded.Add(std, c.NATS)
	amqpserver.Add(std, c.AMQP)
	std.Mount(chassi.NewService("t.v1.T", chassi.NewEndpoint("Panic", func(context.Context, *struct{}) (*struct{}, error) { panic("fault") },
		chassi.Route("GET /panic"), chassi.Public)))
	if err := std.Build(); err != nil {
		return out.String() + err.Error() + fmt.Sprint(std.Close())
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- std.Run(ctx) }()
	for deadline := time.Now().Add(10 * time.Second); std.HTTP.Addr() == nil && time.Now().Before(deadline) && len(ended) == 0; {
		<-time.After(5 * time.Millisecond)
	}
	for _, url := range []string{"http://%s/panic"} {
		if std.HTTP.Addr() != nil {
			fmt.Fprintln(out, bodyOf(fmt.Sprintf(url, std.HTTP.Addr())))
		}
	}
	for _, path := range []string{"/readyz?verbose", "/readyz", "/metrics", "/debug/pprof/cmdline", "/debug/pprof/goroutine?debug=2"} {
		if std.Admin.Addr() != nil {
			fmt.Fprintln(out, bodyOf("http://"+std.Admin.Addr().String()+path))
		}
	}
	cancel()
	fmt.Fprintln(out, <-ended)
	return out.String()
}

func bodyOf(url string) string {
	response, err := http.Get(url)
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(response.Body)
	return string(text)
}
