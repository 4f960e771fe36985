package natsapi

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/nats-io/nuid"
)

// service is one mounted service in the service discovery of NATS. It implements the protocol of
// ADR-32 with the types of the client library, but does not use the library's package micro for
// serving: micro measures the duration of its callbacks, but here calls do not run in a callback,
// so its statistics would be wrong.
type service struct {
	server    *Server
	identity  micro.ServiceIdentity
	endpoints []*endpoint
}

var semver = regexp.MustCompile(`^\d+\.\d+\.\d+`)

func newService(s *Server, prefix, name string) *service {
	version := semver.FindString(strings.TrimPrefix(s.config.Version, "v"))
	if version == "" {
		version = "0.0.0"
	}
	full := name
	if prefix != "" {
		full = prefix + "." + name
	}
	return &service{server: s, identity: micro.ServiceIdentity{
		Name: strings.ReplaceAll(full, ".", "_"), ID: nuid.Next(), Version: version,
		Metadata: map[string]string{"chassi.service": name},
	}}
}

// subscribe subscribes to the discovery requests PING, INFO and STATS for all services, for the
// name of this service, and for this instance. client is a name, "*" or "", as for subscribeAll.
func (sv *service) subscribe(conn *nats.Conn, client string, subs *subscriptions) error {
	for verb, response := range map[micro.Verb]func() any{micro.PingVerb: sv.ping, micro.InfoVerb: sv.info, micro.StatsVerb: sv.stats} {
		for _, who := range [][2]string{{"", ""}, {sv.identity.Name, ""}, {sv.identity.Name, sv.identity.ID}} {
			subject, err := micro.ControlSubject(verb, who[0], who[1])
			if err != nil {
				return fmt.Errorf("natsapi: %w", err)
			}
			if err := subs.add(conn, client, subject, "", func(name string, m *nats.Msg) { sv.describe(name, m, response) }); err != nil {
				return err
			}
		}
	}
	return nil
}

// describe responds to m, a discovery request of the client called name, with the JSON form of
// response(). It drops m if mayRespond returns false or a rate limit is exceeded; the request then
// times out.
func (sv *service) describe(name string, m *nats.Msg, response func() any) {
	s := sv.server
	if !s.mayRespond(name, m) || !s.discovery.allow(name) {
		return
	}
	b, err := json.Marshal(response())
	if err == nil {
		err = s.conns.Load().responses.Publish(m.Reply, b)
	}
	if err != nil {
		s.events.Log(slog.LevelError, "NATS: a response is lost", "error", err.Error(), "subject", shorten(m.Subject))
	}
}

func (sv *service) ping() any {
	return micro.Ping{ServiceIdentity: sv.identity, Type: micro.PingResponseType}
}

func (sv *service) info() any {
	info := micro.Info{ServiceIdentity: sv.identity, Type: micro.InfoResponseType}
	for _, e := range sv.endpoints {
		info.Endpoints = append(info.Endpoints, micro.EndpointInfo{Name: e.route.Endpoint().Name(), Subject: e.subject, QueueGroup: queueGroup})
	}
	return info
}

func (sv *service) stats() any {
	stats := micro.Stats{ServiceIdentity: sv.identity, Type: micro.StatsResponseType, Started: sv.server.startedAt}
	for _, e := range sv.endpoints {
		stats.Endpoints = append(stats.Endpoints, e.stats())
	}
	return stats
}

func (e *endpoint) stats() *micro.EndpointStats {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := &micro.EndpointStats{
		Name: e.route.Endpoint().Name(), Subject: e.subject, QueueGroup: queueGroup,
		NumRequests: e.requests, NumErrors: e.errors, LastError: e.lastError, ProcessingTime: e.took,
	}
	if e.requests > 0 {
		s.AverageProcessingTime = e.took / time.Duration(e.requests)
	}
	return s
}
