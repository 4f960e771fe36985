// Package certs loads the TLS certificates of servers from files, and reloads them when the
// files change.
package certs

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Files configures TLS 1.2 and 1.3 with certificates from files. The zero value means no TLS. The
// files are checked every 5 seconds, and a change applies to the handshakes after the check that
// finds it. If the changed files cannot be used, the previous certificates stay in use.
type Files struct {
	CertFile     string `config:"cert_file" format:"file" help:"PEM file of the certificate chain; enables TLS"`
	KeyFile      string `config:"key_file" format:"file" help:"PEM file of the private key"`
	ClientCAFile string `config:"client_ca_file" format:"file" help:"PEM file of CAs; clients must then present a certificate signed by one of them"`
}

// Enabled reports whether TLS is enabled, that is, whether any file is named.
func (t Files) Enabled() bool { return t.CertFile != "" || t.KeyFile != "" || t.ClientCAFile != "" }

// Validate returns an error if a required file is not named, or if the files cannot currently be
// loaded. It returns nil if no file is named.
func (t Files) Validate() error {
	if !t.Enabled() {
		return nil
	}
	if t.CertFile == "" || t.KeyFile == "" {
		return errors.New("tls: cert_file and key_file must be set together, and client_ca_file requires both")
	}
	p, err := t.read()
	if err == nil {
		_, err = t.parse(p)
	}
	return err
}

// Certificates holds the certificates in use, and reloads them when the files change. It is safe
// for concurrent use. A nil *Certificates means that there is no TLS; its methods do nothing and
// return zero values.
type Certificates struct {
	files   Files
	logger  *slog.Logger
	current atomic.Pointer[tls.Config]

	mu     sync.Mutex
	seen   []byte // contents of the files, and the error of reading them, at the last reload
	broken error  // error of the last reload, or nil
	failed uint64 // number of changes after which the files were unusable
	late   bool   // whether the current certificate is known to be outside its validity period

	cancel context.CancelFunc
	done   sync.WaitGroup
}

// certificatePoll is the interval at which the files are checked.
const certificatePoll = 5 * time.Second

// Watch loads the certificates in files and reloads them when the files change, until
// [Certificates.Stop] is called. It logs to logger reloads, failures, and a certificate in use that
// has expired or is not valid yet. Watch returns a nil *Certificates if no file is named, and an
// error if the files are unusable.
func Watch(files Files, logger *slog.Logger) (*Certificates, error) {
	if !files.Enabled() {
		return nil, nil //nolint:nilnil // no TLS
	}
	if err := files.Validate(); err != nil {
		return nil, err
	}
	c := &Certificates{files: files, logger: logger}
	if _, err := c.reload(); err != nil {
		return nil, err
	}
	c.warn(c.current.Load().Certificates[0].Leaf)
	ctx, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	c.done.Go(func() { c.poll(ctx) })
	return c, nil
}

// Config returns a TLS configuration that uses the current certificates for each handshake, or nil
// if c is nil.
func (c *Certificates) Config() *tls.Config {
	if c == nil {
		return nil
	}
	config := newTLSConfig()
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return c.current.Load(), nil }
	return config
}

func newTLSConfig() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
}

// Stop stops checking the files. The certificates stay in use.
func (c *Certificates) Stop() {
	if c != nil {
		c.cancel()
		c.done.Wait()
	}
}

func (c *Certificates) poll(ctx context.Context) {
	ticker := time.NewTicker(certificatePoll)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			c.refresh()
		}
	}
}

// refresh reloads the certificates if the files have changed, and logs the result. It also calls
// warn with the certificate in use.
func (c *Certificates) refresh() {
	switch changed, err := c.reload(); {
	case err != nil && changed:
		c.mu.Lock()
		c.failed++
		c.mu.Unlock()
		c.logger.Error("certificates changed and cannot be used: the old ones stay", "error", err.Error())
	case changed:
		c.logger.Info("certificates reloaded", "cert_file", c.files.CertFile)
	}
	c.warn(c.current.Load().Certificates[0].Leaf)
}

// State is the state of the certificates in use.
type State struct {
	NotAfter      time.Time // when the server's certificate expires
	FailedReloads uint64    // number of changes after which the files were unusable
	Broken        error     // why the current files are unusable; nil if they are in use
}

// String describes the state, for example "expires in 30 days" or "expired for 2h0m0s". If
// changed files cannot be used, the description ends with the reason.
func (s State) String() string {
	text := "expires in "
	left := time.Until(s.NotAfter)
	if left < 0 {
		text, left = "expired for ", -left
	}
	if days := left / (24 * time.Hour); days > 1 {
		text += fmt.Sprintf("%d days", days)
	} else {
		text += left.Round(time.Minute).String()
	}
	if s.Broken != nil {
		text += "; the files have changed and cannot be used: " + s.Broken.Error()
	}
	return text
}

// ExpirySoon is how long before the expiry of a certificate its state becomes degraded.
const ExpirySoon = 7 * 24 * time.Hour

// Degraded reports whether an operator must act, because the certificate has expired or expires
// within [ExpirySoon], or because the files are unusable.
func (s State) Degraded() bool { return s.Broken != nil || time.Until(s.NotAfter) < ExpirySoon }

// State returns the state of the certificates in use. Ok is false if c is nil, which means that
// there is no TLS.
func (c *Certificates) State() (s State, ok bool) {
	if c == nil {
		return s, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return State{NotAfter: c.current.Load().Certificates[0].Leaf.NotAfter, FailedReloads: c.failed, Broken: c.broken}, true
}

// reload reads all files and, if their contents have changed and can be used, replaces all
// certificates at the same time. It compares contents, not modification times. changed reports
// whether the contents differ from those of the last reload, even if the last reload failed. The
// error is the reason why the current files are unusable.
func (c *Certificates) reload() (changed bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, err := c.files.read()
	if sum := p.sum(err); !bytes.Equal(sum, c.seen) {
		c.seen, c.broken = sum, err
		if err == nil {
			c.broken = c.use(p)
		}
		changed = true
	}
	return changed, c.broken
}

func (c *Certificates) use(p pems) error {
	config, err := c.files.parse(p)
	if err != nil {
		return err
	}
	c.late = false
	c.current.Store(config)
	return nil
}

// warn logs that leaf, the certificate in use, is outside its validity period, but only once until
// the certificate is replaced or becomes valid. The certificate stays in use, because clients
// decide whether to accept it and clocks may be wrong.
func (c *Certificates) warn(leaf *x509.Certificate) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	said := c.late
	c.late = now.After(leaf.NotAfter) || now.Before(leaf.NotBefore)
	switch {
	case said:
	case now.After(leaf.NotAfter):
		c.logger.Warn("the certificate has expired", "cert_file", c.files.CertFile, "not_after", leaf.NotAfter)
	case now.Before(leaf.NotBefore):
		c.logger.Warn("the certificate is not valid yet", "cert_file", c.files.CertFile, "not_before", leaf.NotBefore)
	}
}

// pems holds the contents of the PEM files.
type pems struct {
	cert, key, clientCAs []byte
}

func (p pems) sum(err error) []byte {
	all := bytes.Join([][]byte{p.cert, p.key, p.clientCAs}, []byte{0})
	if err != nil {
		all = append(all, err.Error()...)
	}
	return all
}

func (t Files) read() (p pems, err error) {
	for _, file := range []struct {
		into       *[]byte
		what, name string
	}{{&p.cert, "certificate", t.CertFile}, {&p.key, "key", t.KeyFile}, {&p.clientCAs, "client CAs", t.ClientCAFile}} {
		if file.name == "" {
			continue
		}
		if *file.into, err = os.ReadFile(file.name); err != nil {
			return p, fmt.Errorf("tls: %s: %w", file.what, err)
		}
	}
	return p, nil
}

// parse returns a new TLS configuration with the certificates in p, or an error if they are
// invalid. Session tickets stay valid with a new configuration, but when a client resumes a
// session, crypto/tls verifies the client's certificate chain with the current CAs.
func (t Files) parse(p pems) (*tls.Config, error) {
	pair, err := tls.X509KeyPair(p.cert, p.key)
	if err != nil {
		return nil, fmt.Errorf("tls: certificate %s with key %s: %w", t.CertFile, t.KeyFile, err)
	}
	config := newTLSConfig()
	config.Certificates = []tls.Certificate{pair}
	if t.ClientCAFile == "" {
		return config, nil
	}
	config.ClientCAs, config.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
	if !config.ClientCAs.AppendCertsFromPEM(p.clientCAs) {
		return nil, fmt.Errorf("tls: client_ca_file %s contains no certificate in PEM form", t.ClientCAFile)
	}
	return config, nil
}
