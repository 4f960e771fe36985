package standard

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"strings"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/config"
	"github.com/chassi-go/chassi/middleware"
	"github.com/chassi-go/chassi/redact"
	"github.com/chassi-go/chassi/transport/httpapi"
)

// Admin configures the admin listener, which serves metrics, health checks and profiles to
// operators. The listener requires no credentials, so it must not be reachable from other machines.
// Web pages cannot use it: requests must be for localhost, an IP address, the host of Addr or one
// of Hosts, and must not be cross-origin.
type Admin struct {
	Addr  string   `config:"addr" default:"127.0.0.1:8081" format:"addr" help:"host:port of the admin listener: /metrics, /healthz, /readyz, /debug/pprof; keep it private"`
	Hosts []string `config:"hosts" help:"host names of the admin listener besides localhost, IP addresses and that in addr; requests for other hosts get 421"`

	MaxConnections          int `config:"max_connections" default:"500" min:"1" help:"maximum number of open connections; further ones get 503 and are closed"`
	MaxConnectionsPerClient int `config:"max_connections_per_client" default:"50" min:"0" help:"maximum number of open connections of one client address (IPv6: /64); 0 is a tenth of max_connections"`
}

// hosts returns the host names, besides localhost, for which the listener serves requests. The
// result is never nil.
func (a Admin) hosts() []string {
	names := append([]string{}, a.Hosts...)
	if host, _, err := net.SplitHostPort(a.Addr); err == nil && host != "" && net.ParseIP(host) == nil && !strings.ContainsAny(host, ":%") {
		names = append(names, host)
	}
	return names
}

// newAdmin creates the admin server and declares its listener. The calls of the server are neither
// logged nor traced, because most of them are frequent probes and scrapes.
func (a *App) newAdmin() (err error) {
	c := a.config
	a.Admin, err = httpapi.New(httpapi.Config{
		Name: "admin", Addr: c.Admin.Addr, Hosts: c.Admin.hosts(), WriteTimeout: 2 * time.Minute, Logger: a.Logger,
		MaxConnections: c.Admin.MaxConnections, MaxConnectionsPerClient: c.Admin.MaxConnectionsPerClient,
	}, a.Outgoing[1], middleware.Recover(), limitAdmin())
	if err != nil {
		return err //nolint:wrapcheck // says which setting
	}
	var errs []error
	for pattern, handler := range map[string]http.Handler{
		"GET /metrics":             a.Telemetry.Handler(),
		"GET /healthz":             httpapi.Liveness(),
		"GET /readyz":              httpapi.Readiness(a.App),
		"GET /debug/pprof/":        boundSeconds(pprof.Index),
		"GET /debug/pprof/cmdline": commandLine(os.Args[0], c.Loaded),
		"GET /debug/pprof/profile": boundSeconds(pprof.Profile),
		"GET /debug/pprof/symbol":  http.HandlerFunc(pprof.Symbol),
		"GET /debug/pprof/trace":   boundSeconds(pprof.Trace),
	} {
		errs = append(errs, a.Admin.Handle(pattern, withoutBody(handler), chassi.Public))
	}
	a.Listens(Listener{Name: "admin", Setting: "admin.addr", Addr: c.Admin.Addr,
		Risk: "the admin listener, which requires no credentials, can be reached from other machines",
		Fix:  "listen on 127.0.0.1, or accept it where the network is private: exposure.accepted=admin"})
	a.Descriptors("admin.max_connections", c.Admin.MaxConnections, c.Admin.MaxConnections)
	return errors.Join(append(errs, a.ObserveConnections(a.Admin))...)
}

// commandLine returns a handler that responds with the program and its arguments, separated by NUL
// bytes, in the format of [pprof.Cmdline] but with secrets masked. If report is nil, a single mask
// replaces all arguments.
func commandLine(program string, report *config.Report) http.Handler {
	words := []string{program}
	if report != nil {
		words = append(words, report.Args...)
	} else if len(os.Args) > 1 {
		words = append(words, redact.Mask)
	}
	text := strings.Join(words, "\x00")
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = io.WriteString(w, text) //nolint:gosec // plain text, marked nosniff
	})
}
