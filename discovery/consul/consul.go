// Package consul finds services in HashiCorp Consul, and registers them there. It uses version
// 1 of the agent's HTTP API, which has been stable since Consul 1.0.
package consul

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/chassi-go/chassi/discovery/internal/api"
)

// Config configures the connection to the agent. The zero value of a field means the default in its
// tag, if its tag has one.
type Config struct {
	URL   string `config:"url" format:"url:http,https" mask:"url" default:"http://127.0.0.1:8500" help:"URL of the Consul agent"`
	Token string `config:"token" secret:"true" help:"ACL token; discovery needs service:read and node:read, registration service:write"`

	Datacenter string `config:"datacenter" help:"data center to search; by default that of the agent"`

	CAFile   string `config:"ca_file" format:"file" help:"PEM file of the CAs that are trusted to sign the agent's certificate"`
	CertFile string `config:"cert_file" format:"file" help:"PEM file of the client certificate chain"`
	KeyFile  string `config:"key_file" format:"file" help:"PEM file of the private key of cert_file"`

	Timeout time.Duration `config:"timeout" default:"5s" min:"1ms" max:"1m" help:"maximum time of a call, without the time to wait for a change"`
	Wait    time.Duration `config:"wait" default:"1m" min:"1s" max:"10m" help:"maximum time that one call waits for a change"`

	TTL             time.Duration `config:"ttl" default:"15s" min:"1s" max:"1h" help:"time after which a registered service without a heartbeat is critical; heartbeats are sent three times as often"`
	DeregisterAfter time.Duration `config:"deregister_after" default:"10m" min:"1m" max:"24h" help:"time after which a critical service is deregistered"`

	// Logger receives the log lines that do not belong to a single call. The default is
	// slog.Default().
	Logger *slog.Logger `config:"-"`
}

func (c Config) withDefaults() Config {
	c.URL = strings.TrimRight(cmp.Or(c.URL, "http://127.0.0.1:8500"), "/")
	c.Timeout = cmp.Or(c.Timeout, 5*time.Second)
	c.Wait = cmp.Or(c.Wait, time.Minute)
	c.TTL = cmp.Or(c.TTL, 15*time.Second)
	c.DeregisterAfter = cmp.Or(c.DeregisterAfter, 10*time.Minute)
	return c
}

// agent is the client of the Consul agent for sources and registrations. In its Config, the defaults
// in the tags are filled in.
type agent struct {
	Config

	client *api.Client
}

func newAgent(c Config) (agent, error) {
	a := agent{Config: c.withDefaults()}
	u, err := url.Parse(a.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return a, errors.New("consul: url must be http://HOST:PORT or https://HOST:PORT")
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

// Close closes idle connections.
func (a agent) Close() { a.client.Close() }
