// Package kubernetes finds the pods of a Kubernetes service by the EndpointSlices of
// the API server (discovery.k8s.io/v1, Kubernetes 1.21 and later).
//
// The plain way is another: a headless service and discovery.DNS, which needs no
// rights. This package is for who must know sooner than DNS tells, or calls a service
// that is not headless. The pod's service account needs these rights:
//
//	rules:
//	- apiGroups: [discovery.k8s.io]
//	  resources: [endpointslices]
//	  verbs: [list, watch]
package kubernetes

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/chassi-go/chassi/discovery/internal/api"
)

// accountDir is where a pod finds its service account.
const accountDir = "/var/run/secrets/kubernetes.io/serviceaccount"

// Config says how the API server is reached. In a pod the zero value will do.
type Config struct {
	URL       string `config:"url" help:"https://HOST:PORT of the API server; in a pod that of its cluster"`
	Namespace string `config:"namespace" help:"of the service; in a pod its own by default"`
	TokenFile string `config:"token_file" help:"bearer token, read again for each request; in a pod that of its service account"`
	CAFile    string `config:"ca_file" help:"CAs in PEM that may have signed the server's certificate; in a pod those of its cluster"`

	Timeout time.Duration `config:"timeout" default:"5s" min:"1ms" max:"1m" help:"longest time of a call, a watch left out"`
	Refresh time.Duration `config:"refresh" default:"5m" min:"1s" max:"1h" help:"time after which a watch begins anew, in case that the server hangs"`
}

// withDefaults takes what is missing from the pod: its environment and dir.
func (c Config) withDefaults(getenv func(string) string, dir string) (Config, error) {
	c.Timeout = or(c.Timeout, 5*time.Second)
	c.Refresh = or(c.Refresh, 5*time.Minute)
	if c.URL == "" {
		host, port := getenv("KUBERNETES_SERVICE_HOST"), getenv("KUBERNETES_SERVICE_PORT")
		if host == "" || port == "" {
			return c, errors.New("kubernetes: this is no pod: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set; give url")
		}
		c.URL = "https://" + net.JoinHostPort(host, port)
		c.TokenFile = or(c.TokenFile, filepath.Join(dir, "token"))
		c.CAFile = or(c.CAFile, filepath.Join(dir, "ca.crt"))
	}
	if c.Namespace == "" {
		text, err := os.ReadFile(filepath.Join(dir, "namespace"))
		if err != nil {
			return c, fmt.Errorf("kubernetes: namespace: %w", err)
		}
		c.Namespace = strings.TrimSpace(string(text))
	}
	c.URL = strings.TrimRight(c.URL, "/")
	if u, err := url.Parse(c.URL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return c, errors.New("kubernetes: url: want https://HOST:PORT")
	}
	return c, nil
}

func or[T comparable](v, fallback T) T {
	var zero T
	if v == zero {
		return fallback
	}
	return v
}

// NewSource returns a source of the ready pods behind a service. Port is the name of
// a port of the service, or the number of the port of its pods; "" will do for a
// service of one port. It does not ask yet.
func NewSource(c Config, service, port string) (*Source, error) {
	return newSource(c, service, port, os.Getenv, accountDir)
}

func newSource(c Config, service, port string, getenv func(string) string, dir string) (*Source, error) {
	if service == "" {
		return nil, errors.New("kubernetes: want the name of a service")
	}
	c, err := c.withDefaults(getenv, dir)
	if err != nil {
		return nil, err
	}
	client, err := api.New(api.Options{CAFile: c.CAFile, Timeout: c.Timeout})
	if err != nil {
		return nil, fmt.Errorf("kubernetes: %w", err)
	}
	return &Source{
		config: c, client: client, port: port,
		url:   c.URL + "/apis/discovery.k8s.io/v1/namespaces/" + url.PathEscape(c.Namespace) + "/endpointslices?",
		query: url.Values{"labelSelector": {"kubernetes.io/service-name=" + service}},
	}, nil
}

// request reads the token each time: kubelet replaces it before it expires.
func (s *Source) request(query url.Values, out any) (api.Request, error) {
	r := api.Request{Method: http.MethodGet, URL: s.url + query.Encode(), Out: out}
	if s.config.TokenFile == "" {
		return r, nil
	}
	token, err := os.ReadFile(s.config.TokenFile)
	if err != nil {
		return r, fmt.Errorf("token: %w", err)
	}
	r.Header = http.Header{"Authorization": {"Bearer " + strings.TrimSpace(string(token))}}
	return r, nil
}
