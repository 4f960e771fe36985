package consul

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/chassi-go/chassi/discovery/internal/addr"
	"github.com/chassi-go/chassi/discovery/internal/api"
	"github.com/chassi-go/chassi/discovery/internal/keeper"
)

// Service describes the service to register.
type Service struct {
	Name string
	// Addr is the host:port of the service. If it has no host, Consul uses the address of the
	// agent's node.
	Addr string
	ID   string // unique for each instance; default NAME-HOST-PORT
	Tags []string
	Meta map[string]string
	// Probe is the health check of the service. While it returns an error, the service is critical,
	// and the text of the error is visible to all clients of Consul. Probe must return when its
	// context is done. By default the service is always healthy.
	Probe func(context.Context) error
}

// Registration keeps a service registered with the agent, with a TTL check for its health. An
// outage of the agent is logged once, and the registration is retried. If the agent loses the
// registration, the service is registered again. Registration is a chassi.Component: Drain, or else
// Stop, ends the registration, so that clients stop calling before the service stops.
type Registration struct{ keeper *keeper.Keeper }

// NewRegistration returns a Registration that has not been started. It returns an error if c or s
// is invalid.
func NewRegistration(c Config, s Service) (*Registration, error) {
	r, err := newRegistry(c, s)
	if err != nil {
		return nil, err
	}
	return &Registration{keeper.New(keeper.Options{
		Name: "consul", Service: s.Name, Probe: s.Probe, Interval: r.agent.TTL / 3, Timeout: r.agent.Timeout, Logger: c.Logger,
	}, r)}, nil
}

// Name returns "consul".
func (r *Registration) Name() string { return r.keeper.Name() }

// Start begins to register the service and returns at once, whether or not the agent is available.
func (r *Registration) Start(ctx context.Context) error { return r.keeper.Start(ctx) }

// Drain begins to deregister the service and returns at once.
func (r *Registration) Drain() { r.keeper.Drain() }

// Stop deregisters the service. If the agent is unavailable, Stop logs that and returns nil. It
// returns an error if the probe or an earlier call to the agent has not returned when ctx is done.
func (r *Registration) Stop(ctx context.Context) error { return r.keeper.Stop(ctx) }

// registry implements keeper.Registry with the agent, for one service.
type registry struct {
	agent      agent
	definition definition
	registered bool // whether the agent has the registration, as far as known
	tried      bool // whether a registration was attempted and may have succeeded
}

// definition is the body of a request to /v1/agent/service/register.
type definition struct {
	ID, Name, Address string
	Port              int
	Tags              []string          `json:"Tags,omitempty"` //nolint:tagliatelle // Consul's name
	Meta              map[string]string `json:"Meta,omitempty"` //nolint:tagliatelle // the same
	Check             check
}

type check struct {
	CheckID, Name, TTL, DeregisterCriticalServiceAfter string
}

func newRegistry(c Config, s Service) (*registry, error) {
	a, err := newAgent(c)
	if err != nil {
		return nil, err
	}
	if s.Name == "" {
		return nil, errors.New("consul: the service name is empty")
	}
	host, portText, err := net.SplitHostPort(s.Addr)
	if err != nil {
		return nil, fmt.Errorf("consul: service %q: address %s: want host:port or :port", s.Name, addr.Quote(s.Addr))
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || port == 0 {
		return nil, fmt.Errorf("consul: service %q: address %s: want a port from 1 to 65535", s.Name, addr.Quote(s.Addr))
	}
	if _, err := addr.Canonical(s.Addr); host != "" && err != nil {
		return nil, fmt.Errorf("consul: service %q: %w", s.Name, err)
	}
	if c.DeregisterAfter != 0 && c.DeregisterAfter < time.Minute {
		return nil, errors.New("consul: deregister_after must be at least 1m, the minimum of Consul")
	}
	s.ID = cmp.Or(s.ID, s.Name+"-"+host+"-"+portText)
	return &registry{agent: a, definition: definition{
		ID: s.ID, Name: s.Name, Address: host, Port: int(port), Tags: s.Tags, Meta: s.Meta,
		Check: check{CheckID: "service:" + s.ID, Name: "health of " + s.Name, TTL: a.TTL.String(), DeregisterCriticalServiceAfter: a.DeregisterAfter.String()},
	}}, nil
}

// Beat registers the service if necessary, and reports its health. It registers the service again
// if the agent does not have the check: the agent then responds with 404, or in old versions of
// Consul with 500.
func (r *registry) Beat(ctx context.Context, health error) error {
	if !r.registered {
		if err := r.register(ctx); err != nil {
			return err
		}
	}
	err := r.report(ctx, health)
	if !api.IsStatus(err, http.StatusNotFound, http.StatusInternalServerError) {
		return err
	}
	if err := r.register(ctx); err != nil {
		return err
	}
	return r.report(ctx, health)
}

// register registers the service. The health check is critical at first, which is Consul's default.
func (r *registry) register(ctx context.Context) error {
	r.tried = true
	err := r.put(ctx, "/v1/agent/service/register?replace-existing-checks=true", r.definition)
	r.registered = err == nil
	return err
}

func (r *registry) report(ctx context.Context, health error) error {
	update := struct{ Status, Output string }{Status: "passing"}
	if health != nil {
		update.Status, update.Output = "critical", health.Error()
	}
	return r.put(ctx, "/v1/agent/check/update/"+url.PathEscape(r.definition.Check.CheckID), update)
}

func (r *registry) Remove(ctx context.Context) error {
	if !r.tried {
		return nil
	}
	err := r.put(ctx, "/v1/agent/service/deregister/"+url.PathEscape(r.definition.ID), nil)
	if api.IsStatus(err, http.StatusNotFound) {
		err = nil // the agent has lost the registration
	}
	r.tried = err != nil
	return err
}

func (r *registry) put(ctx context.Context, path string, in any) error {
	_, err := r.agent.client.Do(ctx, api.Request{Method: http.MethodPut, URL: r.agent.URL + path, Header: r.agent.header(), In: in})
	return err
}

func (r *registry) Close() { r.agent.Close() }
