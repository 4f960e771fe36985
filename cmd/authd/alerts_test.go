package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chassi-go/chassi/auth"
	"github.com/chassi-go/chassi/internal/certtest"
	"github.com/chassi-go/chassi/internal/dbtest"
	"github.com/chassi-go/chassi/internal/proxytest"
	"github.com/chassi-go/chassi/internal/redistest"
)

const (
	rulesFile     = "../../deploy/prometheus-rules.yml"
	ruleTestsFile = "../../deploy/prometheus-rules.test.yml"
	dashboardFile = "../../deploy/grafana/dashboards/authd.json"
	metricsPage   = "../../docs/metrics.md"
)

// ofPrometheus are the metrics and labels that Prometheus adds.
var ofPrometheus = map[string]bool{"up": true, "instance": true, "job": true, "severity": true}

// labelSets are the series of each metric.
type labelSets map[string][]map[string]string

var (
	sampleLine = regexp.MustCompile(`(?m)^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? \S+$`)
	labelPair  = regexp.MustCompile(`(\w+)="((?:[^"\\]|\\.)*)"`)
	helpLine   = regexp.MustCompile(`(?m)^# HELP (\S+) (.*)$`)
	typeLine   = regexp.MustCompile(`(?m)^# TYPE (\S+) (\S+)$`)
	selector   = regexp.MustCompile(`\b([a-z_]\w*)\{([^}]*)\}`)
	matcher    = regexp.MustCompile(`(\w+)(=~|!~|!=|=)"([^"]*)"`)
	grouping   = regexp.MustCompile(`\bby \(([^)]*)\)`)
)

func (s labelSets) read(exposition string) {
	for _, m := range sampleLine.FindAllStringSubmatch(exposition, -1) {
		labels := make(map[string]string)
		for _, pair := range labelPair.FindAllStringSubmatch(m[2], -1) {
			labels[pair[1]] = pair[2]
		}
		s[m[1]] = append(s[m[1]], labels)
	}
}

// problems returns what is wrong with an expression and the labels that texts about it use.
func (s labelSets) problems(expression string, texts ...string) (problems []string) {
	selectors := selector.FindAllStringSubmatch(expression, -1)
	if len(selectors) == 0 {
		problems = append(problems, "no metric with its labels in braces")
	}
	known := maps.Clone(ofPrometheus)
	for _, m := range selectors {
		name, series := m[1], s[m[1]]
		if len(series) == 0 && !ofPrometheus[name] {
			problems = append(problems, "no metric "+name)
			continue
		}
		for _, labels := range series {
			for label := range labels {
				known[label] = true
			}
		}
		for _, want := range matcher.FindAllStringSubmatch(m[2], -1) {
			label, operator, value := want[1], want[2], want[3]
			if ofPrometheus[label] {
				continue
			}
			if !slices.ContainsFunc(series, func(labels map[string]string) bool {
				got, ok := labels[label]
				return ok && (operator != "=" || got == value || callDependent[label])
			}) {
				problems = append(problems, fmt.Sprintf("no series of %s has %s%s%q", name, label, operator, value))
			}
		}
	}
	used := grouping.FindAllStringSubmatch(expression, -1)
	for _, text := range texts {
		used = append(used, regexp.MustCompile(`\{\{ ?(?:\$labels\.)?(\w+) ?\}\}`).FindAllStringSubmatch(text, -1)...)
	}
	for _, m := range used {
		for label := range strings.SplitSeq(m[1], ",") {
			if label = strings.TrimSpace(label); !known[label] {
				problems = append(problems, "no label "+label)
			}
		}
	}
	return problems
}

// callDependent are labels whose values depend on what calls have come.
var callDependent = map[string]bool{"status": true, "code": true}

// everythingOn returns the metrics of two nodes that together have every part: one on
// PostgreSQL with all transports, whose Redis goes away, and one on SQLite with TLS; and those of
// a program with events and jobs.
func everythingOn(t *testing.T) (exposition string) {
	t.Helper()
	amqpURL, prefix := rabbit(t)
	c, redisAddr := redistest.Config(t)
	redis := proxytest.New(t, redisAddr)
	redis.Open()
	dead := proxytest.New(t, redisAddr) // nothing listens there
	full := start(t, t.TempDir(), "--database.url="+dbtest.Postgres(t), "--amqp.url="+amqpURL, "--amqp.prefix="+prefix,
		"--redis.url=redis://"+redis.Addr, "--redis.prefix="+c.Prefix, "--rate_limit.peer=1000000/1s",
		"--trace.exporter=otlp-http", "--trace.endpoint=http://"+dead.Addr, "--trace.ratio=1", "--sentry.dsn=http://key@"+dead.Addr+"/1")
	full.awaitLog(`"server":"amqp"`)
	for name, caller := range callers(t, full, amqpURL, prefix) {
		service, err := auth.NewClient(caller)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := service.SignUp(t.Context(), &auth.SignUpRequest{Email: name + "@example.org", Password: "an analytical engine"}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	redis.Cut()
	eventually(t, "Redis is done without", func() bool {
		full.get("/healthz")
		_, _, _ = full.try(http.MethodGet, "/.well-known/jwks.json", "", nil)
		return strings.Contains(full.metrics(), "redis_fallbacks_total{")
	})

	dir := t.TempDir()
	issued := certtest.Issue(t, "authd", nil, time.Now().Add(30*24*time.Hour))
	flags := []string{"--database.url=sqlite:" + filepath.Join(dir, "authd.db")}
	for file, data := range map[string][]byte{"cert": issued.Cert, "key": issued.Key} {
		path := filepath.Join(dir, file+".pem")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		flags = append(flags, "--http.tls."+file+"_file="+path, "--grpc.tls."+file+"_file="+path)
	}
	small := start(t, dir, flags...)
	return full.metrics() + small.metrics() + tasksMetrics(t)
}

// Every metric and label in the alerts and on the dashboard is in what a running authd
// shows, and every metric that it shows, and no other, is in docs/metrics.md.
func TestMetricsAlertsDashboardAndTheirPageAgree(t *testing.T) {
	t.Parallel()
	exposition := everythingOn(t)
	series := make(labelSets)
	series.read(exposition)

	rules, err := os.ReadFile(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	alerts := regexp.MustCompile(`(?s)- alert: (\w+).*?expr: (\|\n.*?\n        for|[^\n]*\n).*?summary: "([^\n]*)"`).FindAllStringSubmatch(string(rules), -1)
	if n := strings.Count(string(rules), "- alert:"); len(alerts) != n || n < 30 {
		t.Errorf("%d of %d alerts were read", len(alerts), n)
	}
	for _, alert := range alerts {
		for _, problem := range series.problems(alert[2], alert[3]) {
			t.Errorf("alert %s: %s", alert[1], problem)
		}
	}

	text, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr, LegendFormat string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			for _, problem := range series.problems(target.Expr, strings.ReplaceAll(target.LegendFormat, "__auto", "")) {
				t.Errorf("panel %q: %s", panel.Title, problem)
			}
		}
	}
	checkPage(t, exposition, series)
}

// checkPage compares the table of metrics with what is shown. Its last column says if a
// metric is there only after its first event, or only in other programs.
func checkPage(t *testing.T, exposition string, series labelSets) {
	t.Helper()
	page, err := os.ReadFile(metricsPage)
	if err != nil {
		t.Fatal(err)
	}
	type row struct{ kind, labels, shown string }
	rows := make(map[string]row)
	for _, m := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\| (\\w+) \\| ([^|]*) \\| [^|]* \\| ([^|]*) \\|$").FindAllStringSubmatch(string(page), -1) {
		rows[m[1]] = row{m[2], strings.TrimSpace(m[3]), strings.TrimSpace(m[4])}
	}
	shown, help := make(map[string]string), make(map[string]string)
	for _, m := range helpLine.FindAllStringSubmatch(exposition, -1) {
		help[m[1]] = m[2]
	}
	for _, m := range typeLine.FindAllStringSubmatch(exposition, -1) {
		if !regexp.MustCompile(`^(go|process|promhttp)_`).MatchString(m[1]) { // of the client library
			shown[m[1]] = m[2]
		}
	}
	for _, name := range slices.Sorted(maps.Keys(shown)) {
		sample := name
		if shown[name] == "histogram" {
			sample += "_count"
		}
		var labels []string
		for label := range series[sample][0] {
			labels = append(labels, "`"+label+"`")
		}
		slices.Sort(labels)
		want := cmp.Or(strings.Join(labels, ", "), "—")
		if r, ok := rows[name]; !ok {
			t.Errorf("docs/metrics.md has no row such as | `%s` | %s | %s | %s | always |", name, shown[name], want, help[name])
		} else if r.kind != shown[name] || r.labels != want {
			t.Errorf("docs/metrics.md: %s is a %s with %q, not a %s with %q", name, shown[name], want, r.kind, r.labels)
		}
	}
	for name, r := range rows {
		if shown[name] == "" && !strings.HasPrefix(r.shown, "after ") && !strings.HasPrefix(r.shown, "in other programs") {
			t.Errorf("docs/metrics.md: %s is not shown", name)
		}
	}
}

// Each alert fires for an instance with bad figures and is silent for one with good ones.
func TestAlertsFire(t *testing.T) {
	t.Parallel()
	rules, err := os.ReadFile(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	tests, err := os.ReadFile(ruleTestsFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`- alert: (\w+)`).FindAllStringSubmatch(string(rules), -1) {
		_, test, found := strings.Cut(string(tests), "  - name: "+m[1]+"\n")
		test, _, _ = strings.Cut(test, "  - name: ")
		if !found || strings.Count(test, `exp_labels: {severity: "`) != 1 || !strings.Contains(test, `instance="good:8081"`) {
			t.Errorf("%s has no test that it fires, and is silent for another instance", m[1])
		}
	}
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("promtool is needed: .ci/run installs it")
		}
		t.Skip("promtool is not installed: it is in the package prometheus of Debian and in the releases of Prometheus")
	}
	for _, args := range [][]string{{"check", "rules", "--lint-fatal", filepath.Base(rulesFile)}, {"test", "rules", filepath.Base(ruleTestsFile)}} {
		command := exec.CommandContext(t.Context(), promtool, args...)
		command.Dir = filepath.Dir(rulesFile)
		if out, err := command.CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v\n%s", args, err, out)
		}
	}
}
