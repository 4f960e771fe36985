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

// Admin is the listener for operators: metrics, health, profiles. It asks for no
// credentials. What protects it is that other machines do not reach it, and that it is
// served to no web page: requests must be for localhost, an IP address, the host of Addr
// or one of Hosts, and not come from a page of another origin.
type Admin struct {
	Addr  string   `config:"addr" default:"127.0.0.1:8081" help:"host:port of the admin listener: /metrics, /healthz, /readyz, /debug/pprof; keep it private"`
	Hosts []string `config:"hosts" help:"host names that the admin listener is asked under, besides localhost, IP addresses and that in addr; requests for others get 421"`

	MaxConnections          int `config:"max_connections" default:"500" min:"1" help:"open connections; further ones get 503 and are closed"`
	MaxConnectionsPerClient int `config:"max_connections_per_client" default:"50" min:"0" help:"open connections of one client address (IPv6: /64); 0 is a tenth of max_connections"`
}

// hosts returns the names that requests may be for. It is never nil.
func (a Admin) hosts() []string {
	names := append([]string{}, a.Hosts...)
	if host, _, err := net.SplitHostPort(a.Addr); err == nil && host != "" && net.ParseIP(host) == nil && !strings.ContainsAny(host, ":%") {
		names = append(names, host)
	}
	return names
}

// buildAdmin makes the admin listener. It takes no part in access log and
// tracing: a probe each second would drown what matters.
func (s *Standard) buildAdmin(c Config, counted chassi.Middleware) (err error) {
	s.Admin, err = httpapi.New(httpapi.Config{
		Name: "admin", Addr: c.Admin.Addr, Hosts: c.Admin.hosts(), WriteTimeout: 2 * time.Minute, Logger: s.Telemetry.Logger,
		MaxConnections: c.Admin.MaxConnections, MaxConnectionsPerClient: c.Admin.MaxConnectionsPerClient,
	}, counted, middleware.Recover(), limitAdmin())
	if err != nil {
		return err //nolint:wrapcheck // says which setting
	}
	var errs []error
	for pattern, handler := range map[string]http.Handler{
		"GET /metrics":             s.Telemetry.Handler(),
		"GET /healthz":             httpapi.Liveness(),
		"GET /readyz":              httpapi.Readiness(s.App),
		"GET /debug/pprof/":        boundSeconds(pprof.Index),
		"GET /debug/pprof/cmdline": commandLine(os.Args[0], c.Loaded),
		"GET /debug/pprof/profile": boundSeconds(pprof.Profile),
		"GET /debug/pprof/symbol":  http.HandlerFunc(pprof.Symbol),
		"GET /debug/pprof/trace":   boundSeconds(pprof.Trace),
	} {
		errs = append(errs, s.Admin.Handle(pattern, withoutBody(handler), chassi.Public))
	}
	for _, server := range []*httpapi.Server{s.HTTP, s.Admin} {
		errs = append(errs, s.Telemetry.RegisterConnections(server.Name(), server.Connections),
			s.Telemetry.RegisterRefusedClients(server.Name(), server.RefusedClients))
	}
	return errors.Join(errs...)
}

// commandLine serves what [pprof.Cmdline] does, program and arguments with NUL between,
// but with the secrets masked. Arguments that no report tells of are left out.
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
