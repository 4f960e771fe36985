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

// maxResponseBytes is the maximum size of the collector's response body, and of its header.
const maxResponseBytes = 64 << 10

// newHTTPClient returns an HTTP client like that of the exporter, with two differences: it
// follows no redirects, which would send the headers of OTEL_EXPORTER_OTLP_HEADERS, usually an
// API key, to another host; and it limits the size of responses.
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

// env returns a variable of the exporter for traces, or the one for all signals.
func env(name string) string {
	return cmp.Or(strings.TrimSpace(os.Getenv("OTEL_EXPORTER_OTLP_TRACES_"+name)), strings.TrimSpace(os.Getenv("OTEL_EXPORTER_OTLP_"+name)))
}

// tlsConfig returns a TLS configuration with the certificates that the environment names.
func tlsConfig() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if file := env("CERTIFICATE"); file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("OTLP: certificates: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		config.RootCAs.AppendCertsFromPEM(pem)
	}
	if cert, key := env("CLIENT_CERTIFICATE"), env("CLIENT_KEY"); cert != "" && key != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("OTLP: client certificate: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}
