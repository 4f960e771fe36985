// Package kubernetes finds the pods of a Kubernetes service through the EndpointSlices of the API
// server (discovery.k8s.io/v1, Kubernetes 1.21 and later).
//
// In most cases a headless service and discovery.DNS are sufficient and need no permissions.
// This package notices changes earlier than DNS, and supports services that are not headless.
// The pod's service account needs these permissions:
//
//	rules:
//	- apiGroups: [discovery.k8s.io]
//	  resources: [endpointslices]
//	  verbs: [list, watch]
package kubernetes

import (
	"cmp"
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

// accountDir is the directory of a pod's service account.
const accountDir = "/var/run/secrets/kubernetes.io/serviceaccount"

// Config configures the connection to the API server. In a pod the zero value is sufficient. If URL
// is set, TokenFile and CAFile have no defaults: without TokenFile no token is sent, and without
// CAFile the CAs of the system are trusted.
type Config struct {
	URL       string `config:"url" format:"url:https,http" mask:"url" help:"https://HOST:PORT of the API server; by default that of the cluster, in a pod"`
	Namespace string `config:"namespace" help:"namespace of the service; by default that of the pod"`
	TokenFile string `config:"token_file" format:"file" help:"file of the bearer token, read for each request; by default that of the service account, in a pod"`
	CAFile    string `config:"ca_file" format:"file" help:"PEM file of the CAs that are trusted to sign the server's certificate; by default those of the cluster, in a pod"`

	Timeout time.Duration `config:"timeout" default:"5s" min:"1ms" max:"1m" help:"maximum time of a call that is not a watch"`
	Refresh time.Duration `config:"refresh" default:"5m" min:"1s" max:"1h" help:"interval at which a watch is restarted, in case the server hangs"`
}

// withDefaults returns c with the defaults filled in, in part from the environment of the pod and the
// directory dir. It returns an error if a required value is missing or the URL is invalid.
func (c Config) withDefaults(getenv func(string) string, dir string) (Config, error) {
	c.Timeout = cmp.Or(c.Timeout, 5*time.Second)
	c.Refresh = cmp.Or(c.Refresh, 5*time.Minute)
	if c.URL == "" {
		host, port := getenv("KUBERNETES_SERVICE_HOST"), getenv("KUBERNETES_SERVICE_PORT")
		if host == "" || port == "" {
			return c, errors.New("kubernetes: not running in a pod: KUBERNETES_SERVICE_HOST or KUBERNETES_SERVICE_PORT is not set; set url")
		}
		c.URL = "https://" + net.JoinHostPort(host, port)
		c.TokenFile = cmp.Or(c.TokenFile, filepath.Join(dir, "token"))
		c.CAFile = cmp.Or(c.CAFile, filepath.Join(dir, "ca.crt"))
	}
	if c.Namespace == "" {
		text, err := os.ReadFile(filepath.Join(dir, "namespace"))
		if err != nil {
			return c, fmt.Errorf("kubernetes: namespace is not set, and that of the pod cannot be read: %w", err)
		}
		c.Namespace = strings.TrimSpace(string(text))
	}
	c.URL = strings.TrimRight(c.URL, "/")
	if u, err := url.Parse(c.URL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return c, errors.New("kubernetes: url must be https://HOST:PORT or http://HOST:PORT")
	}
	return c, nil
}

// NewSource returns a source of the ready pods of a service. The argument port is the name of a
// port of the service, or the port number of its pods; it may be "" if the service has a single
// port. NewSource returns an error if service is empty or c is invalid. It does not connect yet.
func NewSource(c Config, service, port string) (*Source, error) {
	return newSource(c, service, port, os.Getenv, accountDir)
}

func newSource(c Config, service, port string, getenv func(string) string, dir string) (*Source, error) {
	if service == "" {
		return nil, errors.New("kubernetes: the service name is empty")
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

// request returns a request for the EndpointSlices of the service. It reads the token each time,
// because the kubelet replaces the token before it expires.
func (s *Source) request(query url.Values, out any) (api.Request, error) {
	r := api.Request{Method: http.MethodGet, URL: s.url + query.Encode(), Out: out}
	if s.config.TokenFile == "" {
		return r, nil
	}
	token, err := os.ReadFile(s.config.TokenFile)
	if err != nil {
		return r, fmt.Errorf("token_file: %w", err)
	}
	r.Header = http.Header{"Authorization": {"Bearer " + strings.TrimSpace(string(token))}}
	return r, nil
}
