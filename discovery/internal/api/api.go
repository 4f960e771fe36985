// Package api provides an HTTP client for registries with JSON messages. The client limits the
// duration of each call and the size of each response.
package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/chassi-go/chassi/redact"
)

// MaxBytes is the maximum size in bytes of a response, and of one message of a stream.
const MaxBytes = 16 << 20

// Options configures [New].
type Options struct {
	CAFile            string        // PEM file of the CAs; "" for the CAs of the system
	CertFile, KeyFile string        // PEM files of a client certificate, read for each connection; "" for none
	Timeout           time.Duration // for connecting, and for calls without Within
}

// Client calls one registry. It is safe for concurrent use, uses no proxy, and follows no
// redirects, which could send the token to another host.
type Client struct {
	http    *http.Client
	timeout time.Duration
}

// New returns a client, or an error if a certificate or key cannot be used.
func New(o Options) (*Client, error) {
	config, err := tlsConfig(o)
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{
		Timeout:         o.Timeout,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3},
	}
	return &Client{timeout: o.Timeout, http: &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: dialer.DialContext, TLSClientConfig: config, TLSHandshakeTimeout: o.Timeout,
			MaxIdleConnsPerHost: 2, IdleConnTimeout: 90 * time.Second, MaxResponseHeaderBytes: 64 << 10,
		},
	}}, nil
}

func tlsConfig(o Options) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CAFile != "" {
		pem, err := os.ReadFile(o.CAFile)
		if err != nil {
			return nil, fmt.Errorf("ca_file: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca_file: %s contains no valid certificate in PEM form", o.CAFile)
		}
	}
	if (o.CertFile == "") != (o.KeyFile == "") {
		return nil, errors.New("cert_file and key_file must be set together")
	}
	if o.CertFile == "" {
		return config, nil
	}
	load := func() (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(o.CertFile, o.KeyFile)
		return &pair, err
	}
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	if _, err := load(); err != nil {
		return nil, fmt.Errorf("cert_file and key_file: %w", err)
	}
	return config, nil
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Request describes one call.
type Request struct {
	Method, URL string
	Header      http.Header
	In, Out     any           // values of the JSON bodies; nil for none
	Within      time.Duration // timeout of the call; 0 for the client's timeout
}

// StatusError is the error for a response with a status other than 2xx.
type StatusError struct {
	Code int
	Text string // the beginning of the response's body
}

func (e *StatusError) Error() string {
	return strings.TrimSuffix(fmt.Sprintf("status %d: %s", e.Code, e.Text), ": ")
}

// IsStatus reports whether err is or wraps a [*StatusError] with one of the codes.
func IsStatus(err error, codes ...int) bool {
	var status *StatusError
	return errors.As(err, &status) && slices.Contains(codes, status.Code)
}

// name returns the method and the URL of the request, without secrets.
func (r Request) name() string { return r.Method + " " + redact.URL(r.URL) }

// Do makes one call, decodes the response into r.Out unless that is nil, and returns the header of
// the response. It returns an error if the response is longer than [MaxBytes]. For a status other than
// 2xx the error wraps a [*StatusError].
func (c *Client) Do(ctx context.Context, r Request) (http.Header, error) {
	if r.Within == 0 {
		r.Within = c.timeout
	}
	ctx, cancel := context.WithTimeout(ctx, r.Within)
	defer cancel()
	response, err := c.send(ctx, r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, MaxBytes+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: read the response: %w", r.name(), err)
	case len(body) > MaxBytes:
		return nil, fmt.Errorf("%s: the response is longer than %d bytes", r.name(), MaxBytes)
	case r.Out == nil:
		return response.Header, nil
	}
	if err := json.Unmarshal(body, r.Out); err != nil {
		return nil, fmt.Errorf("%s: decode the response: %w", r.name(), err)
	}
	return response.Header, nil
}

// send sends the request and returns the response, whose body must be closed. For a status other
// than 2xx it returns an error that wraps a [*StatusError].
func (c *Client) send(ctx context.Context, r Request) (*http.Response, error) {
	var body io.Reader
	if r.In != nil {
		text, err := json.Marshal(r.In)
		if err != nil {
			return nil, fmt.Errorf("%s: encode the request: %w", r.name(), err)
		}
		body = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, r.Method, r.URL, body)
	if err != nil {
		return nil, err
	}
	if r.Header != nil {
		request.Header = r.Header.Clone()
	}
	request.Header.Set("Accept", "application/json")
	if r.In != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := c.http.Do(request)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err // without the URL, which may contain a token
		}
		return nil, fmt.Errorf("%s: %w", r.name(), err)
	}
	if response.StatusCode/100 == 2 {
		return response, nil
	}
	defer func() { _ = response.Body.Close() }()
	text, _ := io.ReadAll(io.LimitReader(response.Body, 512))
	return nil, fmt.Errorf("%s: %w", r.name(), &StatusError{Code: response.StatusCode, Text: strings.Join(strings.Fields(string(text)), " ")})
}

// Pace limits the rate of calls: even if a registry responds at once, at least half a second passes
// between two calls. The zero value is ready to use.
type Pace struct{ last time.Time }

// Wait waits until a random time, between half a second and one second, has passed since the
// previous call of Wait returned, or until ctx is done. The first call returns at once.
func (p *Pace) Wait(ctx context.Context) {
	defer func() { p.last = time.Now() }()
	d := time.Until(p.last.Add(time.Second/2 + rand.N(time.Second/2)))
	if p.last.IsZero() || d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
