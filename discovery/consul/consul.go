// Package consul finds services in HashiCorp Consul, and registers them there. It
// speaks the agent's HTTP API, version 1, which is the same since Consul 1.0.
package consul

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/chassi-go/chassi/discovery/internal/api"
)

// Config says how the agent is reached. The zero value of every field means the
// default in its tag.
type Config struct {
	URL   string `config:"url" mask:"url" default:"http://127.0.0.1:8500" help:"of the Consul agent"`
	Token string `config:"token" secret:"true" help:"ACL token: service:read and node:read to find, service:write to register"`

	Datacenter string `config:"datacenter" help:"to find services in; the agent's own by default"`

	CAFile   string `config:"ca_file" help:"CAs in PEM that may have signed the agent's certificate"`
	CertFile string `config:"cert_file" help:"client certificate chain in PEM"`
	KeyFile  string `config:"key_file" help:"its private key in PEM"`

	Timeout time.Duration `config:"timeout" default:"5s" min:"1ms" max:"1m" help:"longest time of a call, waiting for a change left out"`
	Wait    time.Duration `config:"wait" default:"1m" min:"1s" max:"10m" help:"longest time that one call waits for a change"`

	TTL             time.Duration `config:"ttl" default:"15s" min:"1s" max:"1h" help:"a service registered here that says nothing for so long is critical; it says something three times as often"`
	DeregisterAfter time.Duration `config:"deregister_after" default:"10m" min:"1m" max:"24h" help:"a service registered here that is critical for so long is removed"`

	// Logger takes what concerns no call. Default slog.Default().
	Logger *slog.Logger `config:"-"`
}

func (c Config) withDefaults() Config {
	c.URL = strings.TrimRight(or(c.URL, "http://127.0.0.1:8500"), "/")
	c.Timeout = or(c.Timeout, 5*time.Second)
	c.Wait = or(c.Wait, time.Minute)
	c.TTL = or(c.TTL, 15*time.Second)
	c.DeregisterAfter = or(c.DeregisterAfter, 10*time.Minute)
	return c
}

func or[T comparable](v, fallback T) T {
	var zero T
	if v == zero {
		return fallback
	}
	return v
}

// agent is the client of both, with the defaults filled in.
type agent struct {
	Config

	client *api.Client
}

func newAgent(c Config) (agent, error) {
	a := agent{Config: c.withDefaults()}
	u, err := url.Parse(a.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return a, errors.New("consul: url: want http://HOST:PORT or https://HOST:PORT")
	}
	a.client, err = api.New(api.Options{CAFile: a.CAFile, CertFile: a.CertFile, KeyFile: a.KeyFile, Timeout: a.Timeout})
	if err != nil {
		return a, fmt.Errorf("consul: %w", err)
	}
	return a, nil
}

func (a agent) header() http.Header {
	if a.Token == "" {
		return nil
	}
	return http.Header{"X-Consul-Token": {a.Token}}
}

// Close frees the connections that are not in use.
func (a agent) Close() { a.client.Close() }
