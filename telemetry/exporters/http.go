package exporters

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// maxResponseBytes is the maximum size of the body of a collector's response and, over
// HTTP, of its header, in bytes.
const maxResponseBytes = 64 << 10

// newHTTPClient returns an HTTP client for the exporter, configured by the same
// variables as the exporter's own client. Unlike that client, it limits the size of
// response headers, and follows no redirects, which would send the headers of
// OTEL_EXPORTER_OTLP_HEADERS, usually an API key, to another host.
func newHTTPClient() (*http.Client, error) {
	config, err := tlsConfig()
	if err != nil {
		return nil, err
	}
	timeout := 10 * time.Second
	if ms, err := strconv.Atoi(env("TIMEOUT")); err == nil && ms > 0 {
		timeout = time.Duration(ms) * time.Millisecond
	}
	return &http.Client{
		Timeout:       timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:       http.ProxyFromEnvironment,
			DialContext: (&net.Dialer{Timeout: timeout, KeepAlive: 30 * time.Second}).DialContext, TLSClientConfig: config,
			TLSHandshakeTimeout: timeout, ForceAttemptHTTP2: true, IdleConnTimeout: 90 * time.Second, MaxResponseHeaderBytes: maxResponseBytes,
		},
	}, nil
}

// env returns the value of the OTEL_EXPORTER_OTLP_TRACES_* variable with this name or, if that is
// empty, of the OTEL_EXPORTER_OTLP_* variable.
func env(name string) string {
	return cmp.Or(strings.TrimSpace(os.Getenv("OTEL_EXPORTER_OTLP_TRACES_"+name)), strings.TrimSpace(os.Getenv("OTEL_EXPORTER_OTLP_"+name)))
}

// tlsConfig returns a TLS configuration with the certificates that the environment
// names. It returns an error if a file cannot be read or contains no certificate, or if
// the key pair is invalid.
func tlsConfig() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if file := env("CERTIFICATE"); file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("certificates of the collector: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("certificates of the collector: %s contains no PEM certificate", file)
		}
	}
	if cert, key := env("CLIENT_CERTIFICATE"), env("CLIENT_KEY"); cert != "" && key != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("client certificate for the collector: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}
