package repotest_test

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/chassi-go/chassi"

// allowed lists the packages of this module that each package may import. "." is the root package,
// "x/..." is every package below x, and "*" is every package that is below neither cmd nor
// internal. Packages on the left of one line do not import each other unless the right side lists
// them. Do not relax a line to fix a build: move the code instead. docs/architecture.md says where
// code belongs.
const allowed = `
.:
transport/httpapi transport/grpcapi transport/natsapi transport/amqpapi: . transport schema/... transport/certs internal/broker internal/strictjson redact ratelimit internal/outage internal/safetext internal/contain internal/listening workpool
transport/natsapi/embedded: internal/listening
transport/localapi: . transport client internal/safetext
transport/connectapi: . transport/httpapi schema/protobuf
internal/broker: . transport schema/... internal/strictjson
transport: . ratelimit
transport/certs:
chassitest: . client middleware transport/...
transport/transporttest: . client transport schema/... middleware middleware/tracing
schema: . transport schema/gotype internal/strictjson validation
schema/apidocs: .
schema/gotype: .
schema/protobuf internal/strictjson: . schema/gotype internal/safetext
validation: . schema/gotype internal/safetext
middleware middleware/metrics middleware/tracing: . schema/gotype internal/strictjson validation token ratelimit timeout overload idempotency calltrace internal/outage
telemetry: . redact internal/outage internal/contain
telemetry/exporters:
client: . transport discovery breaker retry timeout
client/httpclient: breaker retry
feed: .
console: . telemetry
discovery: internal/outage internal/contain discovery/internal/...
token password ratelimit retry timeout overload idempotency redact calltrace:
breaker clock: internal/contain
database: calltrace
workpool: . calltrace
config: redact internal/contain
discovery/consul discovery/etcd discovery/kubernetes: discovery/internal/...
discovery/internal/...: redact internal/contain
redis: breaker redact calltrace internal/outage
ratelimit/redislimit: ratelimit redis
idempotency/sqlstore: idempotency database
event: . transport database internal/task internal/strictjson internal/outage
event/natsevents: event transport transport/natsapi
event/amqpevents: event transport transport/amqpapi
eventtest: . event database internal/task
standard/events: . standard standard/internal/tasks event database schema
standard/events/natsevents: event event/natsevents standard standard/events standard/natsembedded transport/natsapi transport/natsapi/embedded
standard/events/amqpevents: event event/amqpevents standard standard/events standard/amqpserver transport/amqpapi
job: . transport database internal/task internal/strictjson internal/outage internal/safetext
job/jobtest: . job database internal/task middleware
standard/jobs: . standard standard/internal/tasks job database internal/task
standard/internal/tasks: standard database internal/task
internal/task: . transport database internal/strictjson internal/outage internal/safetext
idempotency/redisstore: idempotency redis
standard: . transport transport/httpapi transport/connectapi transport/certs schema schema/protobuf middleware middleware/... telemetry ratelimit overload config redact internal/contain internal/listening internal/memlimit
standard/remote: standard client client/httpclient middleware/... discovery breaker telemetry
standard/grpcserver: . standard transport/grpcapi
standard/natsserver: . standard config transport transport/natsapi
standard/natsembedded: standard standard/natsserver config transport transport/natsapi transport/natsapi/embedded
standard/amqpserver: . standard config transport transport/amqpapi
standard/redisdb: . standard middleware ratelimit ratelimit/redislimit redis
standard/sqldb: . standard config database idempotency/sqlstore middleware
auth: . client
auth/service: . auth auth/store token password workpool ratelimit internal/outage
auth/store: database redis
cmd/authd cmd/chassi: . schema schema/... transport/... middleware middleware/... telemetry telemetry/... client console token password ratelimit breaker retry workpool database discovery config clock idempotency idempotency/... standard standard/... redis auth auth/... internal/memlimit
bench/... examples/... load load/... scripts/...: * internal/setclock
internal/thirdparty/...: internal/thirdparty/...
internal/typetest:
internal/repotest: .
internal/calltest internal/worktest: * internal/broker internal/strictjson
internal/conformance internal/conformance/...: . schema/... transport transport/... internal/conformance
internal/...: *
`

// external lists the packages that may import a third-party module, or a restricted package of the
// standard library. A module that is not listed may not be imported. Large modules are imported by
// few packages, so that a program that does not use these packages does not link the modules.
const external = `
github.com/alitto/pond/v2: workpool
github.com/getsentry/sentry-go: telemetry
github.com/go-json-experiment/json: transport/httpapi schema/protobuf transport/connectapi internal/broker internal/connecttest token schema schema/gotype internal/strictjson internal/typetest
github.com/golang-jwt/jwt/v5: token bench/server
github.com/jackc/pgx/v5: database internal/dbtest
github.com/klauspost/compress: transport/httpapi
github.com/lmittmann/tint: telemetry
github.com/nats-io/nats.go: transport/natsapi transport/natsapi/embedded event/natsevents
github.com/nats-io/nats-server/v2: transport/natsapi/embedded
github.com/nats-io/nkeys: transport/natsapi/embedded
github.com/nats-io/nuid: transport/natsapi
github.com/pressly/goose/v3: database
github.com/prometheus/client_golang: telemetry middleware/metrics
github.com/rabbitmq/amqp091-go: transport/amqpapi event/amqpevents internal/rabbittest
github.com/redis/rueidis: redis
github.com/robfig/cron/v3: job
github.com/rs/cors: transport/httpapi
github.com/sony/gobreaker/v2: breaker
go.opentelemetry.io/otel: examples/orders telemetry telemetry/exporters middleware/tracing standard transport/transporttest
go.yaml.in/yaml/v3: config
golang.org/x/crypto/argon2: password
golang.org/x/net/dns: internal/...
golang.org/x/net/http2: internal/...
golang.org/x/net/idna: auth/service
golang.org/x/term: cmd/authd
golang.org/x/text: auth/service password
golang.org/x/time: ratelimit
google.golang.org/genproto: internal/...
google.golang.org/grpc: telemetry/exporters transport/grpcapi internal/... load/rolling
connectrpc.com/connect: internal/...
google.golang.org/protobuf: transport/grpcapi schema/protobuf internal/...
modernc.org/libc: load/slowdisk
modernc.org/sqlite: database
modernc.org/sqlite/lib: database load/slowdisk

html/template: scripts/... internal/...
testing: transport/transporttest chassitest eventtest job/jobtest internal/... scripts/...
text/template: scripts/... internal/...
`

func TestImports(t *testing.T) {
	t.Parallel()
	for _, problem := range newRules(allowed, external).inspect(listPackages(t)) {
		t.Error(problem)
	}
}

// TestImportRulesFindViolations tests that inspect reports forbidden imports and accepts allowed
// ones.
func TestImportRulesFindViolations(t *testing.T) {
	t.Parallel()
	r := newRules(".:\ntoken password:\nauth: .\nauth/store: token\nstandard: auth/... .\ntools/...: *\n", "x.org/jwt: token\ntesting: tools/...\n")
	cases := map[string]struct {
		pkg  string
		uses []string
		want string // "" for in order
	}{
		"root, standard library": {".", []string{"context", "net/http"}, ""},
		"root, of ours":          {".", []string{module + "/token"}, "may import nothing of ours"},
		"siblings":               {"token", []string{module + "/password"}, "imports password"},
		"backwards":              {"auth", []string{module + "/auth/store"}, "imports auth/store"},
		"allowed":                {"auth", []string{module}, ""},
		"folder":                 {"standard", []string{module + "/auth/store", module}, ""},
		"folder is not its name": {"standard", []string{module + "/auth"}, "imports auth,"},
		"not listed":             {"attic", nil, "is not listed"},
		"allowed module":         {"token", []string{"x.org/jwt", "x.org/jwt/request"}, ""},
		"other package":          {"password", []string{"x.org/jwt"}, "may import x.org/jwt"},
		"name alike":             {"token", []string{"x.org/jwtx"}, "x.org/jwtx, which is not listed"},
		"unknown module":         {"token", []string{"x.org/other"}, "x.org/other, which is not listed"},
		"restricted std":         {"token", []string{"testing"}, "may import testing"},
		"anything":               {"tools/lint", []string{module + "/token", "testing"}, ""},
		"anything but programs":  {"tools/lint", []string{module + "/cmd/authd"}, "imports cmd/authd"},
		"anything but test help": {"tools/lint", []string{module + "/internal/x"}, "imports internal/x"},
	}
	for name, c := range cases {
		got := strings.Join(r.inspect(map[string][]string{c.pkg: c.uses}), "\n")
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: found %q, want %q", name, got, c.want)
		}
	}
}

// rules contains the two parsed tables. allowed maps a package to patterns of the packages that it
// may import. external maps a module, or a package of the standard library, to patterns of the
// packages that may import it.
type rules struct{ allowed, external map[string][]string }

func newRules(allowed, external string) rules {
	return rules{allowed: parseTable(allowed), external: parseTable(external)}
}

func parseTable(text string) map[string][]string {
	table := make(map[string][]string)
	for line := range strings.Lines(text) {
		names, allowed, _ := strings.Cut(line, ":")
		for name := range strings.FieldsSeq(names) {
			table[name] = strings.Fields(allowed)
		}
	}
	return table
}

// inspect returns a message for each forbidden import and for each package that is not listed. The
// argument maps each package to its imports.
func (r rules) inspect(packages map[string][]string) []string {
	var problems []string
	for _, pkg := range slices.Sorted(maps.Keys(packages)) {
		allowed, ok := r.lookUp(pkg)
		if !ok {
			problems = append(problems, fmt.Sprintf("package %s is not listed: add a line to allowed in internal/repotest/imports_test.go, or move its code to a listed package", pkg))
			continue
		}
		for _, used := range packages[pkg] {
			if problem := r.check(pkg, allowed, used); problem != "" {
				problems = append(problems, problem)
			}
		}
	}
	return problems
}

func (r rules) check(pkg string, allowed []string, used string) string {
	if used == module || strings.HasPrefix(used, module+"/") {
		ours := cleanName(used)
		switch {
		case matchesAny(allowed, ours), slices.Contains(allowed, "*") && !matchesAny([]string{"cmd/...", "internal/..."}, ours):
			return ""
		case len(allowed) == 0:
			return fmt.Sprintf("package %s imports %s, and may import nothing of ours: pass what it needs as an argument, or move the code to a package that may import both", pkg, ours)
		default:
			return fmt.Sprintf("package %s imports %s, and may import of ours only %s: move the code to a package that may import both (see allowed in internal/repotest/imports_test.go)", pkg, ours, strings.Join(allowed, ", "))
		}
	}
	row := longestPrefix(r.external, used)
	switch {
	case row == "" && !strings.Contains(strings.Split(used, "/")[0], "."):
		return "" // the standard library
	case row == "":
		return fmt.Sprintf("package %s imports %s, which is not listed: use a module that is, or add a line to external in internal/repotest/imports_test.go and give the reason in docs/decisions", pkg, used)
	case !matchesAny(r.external[row], pkg):
		return fmt.Sprintf("package %s imports %s: only %s may import %s; use it through that package", pkg, used, strings.Join(r.external[row], ", "), row)
	default:
		return ""
	}
}

// lookUp returns the patterns of the packages that pkg may import, from the line of pkg or else
// from that of the nearest directory above it. ok reports whether there is such a line.
func (r rules) lookUp(pkg string) (allowed []string, ok bool) {
	if allowed, ok := r.allowed[pkg]; ok {
		return allowed, true
	}
	for dir := path.Dir(pkg); dir != "."; dir = path.Dir(dir) {
		if allowed, ok := r.allowed[dir+"/..."]; ok {
			return allowed, true
		}
	}
	return nil, false
}

func matchesAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		folder, isFolder := strings.CutSuffix(p, "...")
		return p == name || isFolder && strings.HasPrefix(name, folder)
	})
}

func longestPrefix(table map[string][]string, used string) string {
	for p := used; p != "." && p != "/"; p = path.Dir(p) {
		if _, ok := table[p]; ok {
			return p
		}
	}
	return ""
}

// cleanName returns the path of a package of this module relative to the module, which is "." for
// the root package.
func cleanName(importPath string) string {
	if importPath == module {
		return "."
	}
	return strings.TrimPrefix(importPath, module+"/")
}

// listPackages returns the imports of every package, without the imports of its tests.
func listPackages(t *testing.T) map[string][]string {
	t.Helper()
	packages := make(map[string][]string)
	for _, line := range goList(t, "-e", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...") {
		words := strings.Fields(line)
		packages[cleanName(words[0])] = words[1:]
	}
	if len(packages["."]) == 0 {
		t.Fatalf("go list found no root package among %d", len(packages))
	}
	return packages
}
