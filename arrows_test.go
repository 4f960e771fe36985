package chassi_test

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/chassi-go/chassi"

// rooms says what each package may import of ours; "." is the root, "x/..." is
// all below x, "*" is anything but programs and test help. Rooms on one line do
// not import each other. Do not relax a line to mend a build: an import that it
// forbids stands in the wrong room. docs/architecture.md tells which is right.
const rooms = `
.:
transport/httpapi transport/grpcapi transport/natsapi transport/amqpapi: . transport schema/... transport/certs transport/message redact ratelimit internal/outage
transport/natsapi/embedded:
transport/localapi: . transport client
transport/message: . transport schema/...
transport: . ratelimit
transport/certs:
chassitest: . client middleware transport/...
transport/transporttest: . client schema/... middleware middleware/tracing
schema: . transport
schema/protobuf schema/strictjson: .
middleware middleware/metrics middleware/tracing: . token ratelimit deadline overload idempotency calltrace internal/outage
telemetry: . telemetry/otlp redact internal/outage
telemetry/otlp:
client: . transport discovery breaker retry deadline
console: . telemetry
discovery: internal/outage
token password ratelimit breaker retry deadline overload idempotency redact clock calltrace:
database workpool: calltrace
config: redact
discovery/consul discovery/etcd discovery/kubernetes: discovery/internal/...
discovery/internal/...:
redis: breaker redact calltrace internal/outage
ratelimit/shared: ratelimit redis
idempotency/sqlstore: idempotency database
idempotency/redisstore: idempotency redis
standard: . transport/... schema/... schema middleware middleware/... telemetry client console token password ratelimit ratelimit/shared redis breaker retry overload workpool discovery config redact internal/memlimit
standard/sqldb: . standard database
auth: . client
auth/service: . auth auth/store token password workpool ratelimit internal/outage
auth/store: database redis
cmd/authd cmd/chassi: . schema schema/... transport/... middleware middleware/... telemetry client console token password ratelimit breaker retry workpool database discovery config clock idempotency idempotency/... standard standard/sqldb auth auth/... internal/memlimit
bench/... examples/... load load/... scripts/...: *
internal/strangers/...: internal/strangers/...
internal/conformance internal/conformance/...: . schema/... transport transport/... internal/conformance
internal/...: *
`

// outsiders says which rooms may import what of others. What is not listed may
// be imported by none, but for the standard library, which all may import save
// what stands here. One heavy module, one room: whoever does not enter the room
// does not link the module.
const outsiders = `
github.com/alitto/pond/v2: workpool
github.com/getsentry/sentry-go: telemetry
github.com/go-json-experiment/json: transport/httpapi transport/message token schema schema/strictjson
github.com/golang-jwt/jwt/v5: token bench/server
github.com/jackc/pgx/v5: database internal/dbtest
github.com/klauspost/compress: transport/httpapi
github.com/lmittmann/tint: telemetry
github.com/nats-io/nats.go: transport/natsapi transport/natsapi/embedded
github.com/nats-io/nats-server/v2: transport/natsapi/embedded
github.com/nats-io/nkeys: transport/natsapi/embedded
github.com/nats-io/nuid: transport/natsapi
github.com/pressly/goose/v3: database
github.com/prometheus/client_golang: telemetry middleware/metrics
github.com/rabbitmq/amqp091-go: transport/amqpapi internal/rabbittest
github.com/redis/rueidis: redis
github.com/sony/gobreaker/v2: breaker
go.opentelemetry.io/otel: telemetry telemetry/otlp middleware/tracing standard transport/transporttest
go.yaml.in/yaml/v3: config
golang.org/x/crypto/argon2: password
golang.org/x/net/dns: internal/...
golang.org/x/net/http2: internal/...
golang.org/x/net/idna: auth/service
golang.org/x/term: cmd/authd
golang.org/x/text: auth/service password
golang.org/x/time: ratelimit
google.golang.org/grpc: transport/grpcapi internal/... load/rolling
google.golang.org/genproto: transport/grpcapi
connectrpc.com/connect: internal/...
google.golang.org/protobuf: transport/grpcapi schema/protobuf internal/...
modernc.org/libc: load/slowdisk
modernc.org/sqlite: database
modernc.org/sqlite/lib: database load/slowdisk

html/template: scripts/... internal/...
testing: transport/transporttest chassitest internal/... scripts/...
text/template: scripts/... internal/...
`

func TestArrows(t *testing.T) {
	t.Parallel()
	for _, problem := range newHouse(rooms, outsiders).inspect(listPackages(t)) {
		t.Error(problem)
	}
}

// The inspector is put to the test itself: a rule that finds nothing looks just
// like a house in order.
func TestArrowsFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	h := newHouse(".:\ntoken password:\nauth: .\nauth/store: token\nstandard: auth/... .\ntools/...: *\n", "x.org/jwt: token\ntesting: tools/...\n")
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
		"no room":                {"attic", nil, "has no room"},
		"module's own room":      {"token", []string{"x.org/jwt", "x.org/jwt/request"}, ""},
		"module's other room":    {"password", []string{"x.org/jwt"}, "may import x.org/jwt"},
		"name alike":             {"token", []string{"x.org/jwtx"}, "x.org/jwtx: no room may"},
		"unknown module":         {"token", []string{"x.org/other"}, "x.org/other: no room may"},
		"restricted std":         {"token", []string{"testing"}, "may import testing"},
		"anything":               {"tools/lint", []string{module + "/token", "testing"}, ""},
		"anything but programs":  {"tools/lint", []string{module + "/cmd/authd"}, "imports cmd/authd"},
		"anything but test help": {"tools/lint", []string{module + "/internal/x"}, "imports internal/x"},
	}
	for name, c := range cases {
		got := strings.Join(h.inspect(map[string][]string{c.pkg: c.uses}), "\n")
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: found %q, want %q", name, got, c.want)
		}
	}
}

// house holds both tables: a pattern to the patterns allowed.
type house struct{ rooms, outsiders map[string][]string }

func newHouse(rooms, outsiders string) house {
	return house{rooms: parseTable(rooms), outsiders: parseTable(outsiders)}
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

// inspect returns a sentence for each import that is forbidden.
func (h house) inspect(packages map[string][]string) []string {
	var problems []string
	for _, pkg := range slices.Sorted(maps.Keys(packages)) {
		allowed, ok := h.room(pkg)
		if !ok {
			problems = append(problems, fmt.Sprintf("package %s has no room: give it a line in rooms (arrows_test.go), or move it to the package that it belongs to", pkg))
			continue
		}
		for _, used := range packages[pkg] {
			if problem := h.judge(pkg, allowed, used); problem != "" {
				problems = append(problems, problem)
			}
		}
	}
	return problems
}

func (h house) judge(pkg string, allowed []string, used string) string {
	if used == module || strings.HasPrefix(used, module+"/") {
		ours := cleanName(used)
		switch {
		case matchesAny(allowed, ours), slices.Contains(allowed, "*") && !matchesAny([]string{"cmd/...", "internal/..."}, ours):
			return ""
		case len(allowed) == 0:
			return fmt.Sprintf("package %s imports %s, and may import nothing of ours: pass what it needs as an argument, or move the code to the room that needs both", pkg, ours)
		default:
			return fmt.Sprintf("package %s imports %s, and may import of ours only %s: move the code to the room that needs both (rooms in arrows_test.go)", pkg, ours, strings.Join(allowed, ", "))
		}
	}
	row := longestPrefix(h.outsiders, used)
	switch {
	case row == "" && !strings.Contains(strings.Split(used, "/")[0], "."):
		return "" // the standard library
	case row == "":
		return fmt.Sprintf("package %s imports %s: no room may; use what is there already, or give the module one room in outsiders (arrows_test.go) and say why in docs/decisions", pkg, used)
	case !matchesAny(h.outsiders[row], pkg):
		return fmt.Sprintf("package %s imports %s: only %s may import %s; use it through that room", pkg, used, strings.Join(h.outsiders[row], ", "), row)
	default:
		return ""
	}
}

// room returns the line of pkg: its own, or that of a folder above it.
func (h house) room(pkg string) (allowed []string, ok bool) {
	if allowed, ok := h.rooms[pkg]; ok {
		return allowed, true
	}
	for dir := path.Dir(pkg); dir != "."; dir = path.Dir(dir) {
		if allowed, ok := h.rooms[dir+"/..."]; ok {
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

// cleanName turns an import path into a room's name.
func cleanName(importPath string) string {
	if importPath == module {
		return "."
	}
	return strings.TrimPrefix(importPath, module+"/")
}

// listPackages returns the imports of every package, those of its tests left out.
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
