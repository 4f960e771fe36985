package certs

import (
	"bytes"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chassi-go/chassi/internal/certtest"
)

func tomorrow() time.Time { return time.Now().Add(24 * time.Hour) }

func write(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// install writes a pair, and the CA for clients if there is one, to a new folder.
func install(t *testing.T, pair certtest.Issued, clients *certtest.Issued) Files {
	t.Helper()
	dir := t.TempDir()
	files := Files{CertFile: filepath.Join(dir, "tls.crt"), KeyFile: filepath.Join(dir, "tls.Key")}
	write(t, files.CertFile, pair.Cert)
	write(t, files.KeyFile, pair.Key)
	if clients != nil {
		files.ClientCAFile = filepath.Join(dir, "ca.crt")
		write(t, files.ClientCAFile, clients.Cert)
	}
	return files
}

// logText is a log that may be read while it is written.
type logText struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logText) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func mustCertificates(t *testing.T, files Files) (*Certificates, *logText) {
	t.Helper()
	log := new(logText)
	c, err := Watch(files, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	return c, log
}

// serveTLS answers every request with its protocol.
func serveTLS(t *testing.T, c *Certificates) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{
		TLSConfig: c.Config(), ReadHeaderTimeout: 300 * time.Millisecond, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) }),
	}
	var wg sync.WaitGroup
	wg.Go(func() { server.ServeTLS(l, "", "") })
	t.Cleanup(func() { server.Close(); wg.Wait() })
	return l.Addr().String()
}

func client(t *testing.T, config *tls.Config) *http.Client {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 10 * time.Second}
}

func get(c *http.Client, addr string) (body string, state *tls.ConnectionState, err error) {
	resp, err := c.Get("https://" + addr + "/")
	if err != nil {
		return "", nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return string(text), resp.TLS, err
}

func TestTLSSpeaksBothProtocols(t *testing.T) {
	t.Parallel()
	ca := certtest.Issue(t, "ca", nil, tomorrow())
	c, _ := mustCertificates(t, install(t, ca, nil))
	addr := serveTLS(t, c)
	body, state, err := get(client(t, &tls.Config{RootCAs: ca.Pool()}), addr)
	if err != nil || body != "HTTP/2.0" || state.Version != tls.VersionTLS13 {
		t.Errorf("by default: %q, %v, %v", body, state, err)
	}
	old := client(t, &tls.Config{RootCAs: ca.Pool(), MaxVersion: tls.VersionTLS12})
	old.Transport.(*http.Transport).ForceAttemptHTTP2 = false
	if body, state, err = get(old, addr); err != nil || body != "HTTP/1.1" || state.Version != tls.VersionTLS12 {
		t.Errorf("HTTP/1.1 over TLS 1.2: %q, %v, %v", body, state, err)
	}
}

// Fault 27: old versions, junk and silence end, on time.
func TestTLSHandshakesFault27(t *testing.T) {
	t.Parallel()
	ca := certtest.Issue(t, "ca", nil, tomorrow())
	c, _ := mustCertificates(t, install(t, ca, nil))
	addr := serveTLS(t, c)
	for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11} {
		conn, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: ca.Pool(), MinVersion: version, MaxVersion: version})
		if err == nil {
			conn.Close()
			t.Errorf("%s was accepted", tls.VersionName(version))
		}
	}
	conns := make([]net.Conn, 200)
	for i := range conns {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		if i%2 == 0 {
			io.WriteString(conn, "\x16\x03\x01\xff\xff junk that is no hello")
		}
		conns[i] = conn
	}
	if _, _, err := get(client(t, &tls.Config{RootCAs: ca.Pool()}), addr); err != nil {
		t.Errorf("a good client beside them: %v", err)
	}
	for _, conn := range conns {
		if _, err := io.Copy(io.Discard, conn); err != nil && os.IsTimeout(err) {
			t.Fatal("a stalled handshake was not closed")
		}
	}
}

func TestCertificatesAreReloaded(t *testing.T) {
	t.Parallel()
	before, after := certtest.Issue(t, "before", nil, tomorrow()), certtest.Issue(t, "after", nil, tomorrow())
	files := install(t, before, nil)
	c, _ := mustCertificates(t, files)
	addr := serveTLS(t, c)
	kept := client(t, &tls.Config{RootCAs: before.Pool()})
	if _, _, err := get(kept, addr); err != nil {
		t.Fatal(err)
	}
	if changed, err := c.reload(); changed || err != nil {
		t.Errorf("nothing new: %v, %v", changed, err)
	}

	write(t, files.CertFile, after.Cert) // without its key yet
	for range 2 {
		if _, err := c.reload(); err == nil || !strings.Contains(err.Error(), files.CertFile) || !strings.Contains(err.Error(), files.KeyFile) {
			t.Errorf("half a pair: %v", err)
		}
	}
	if _, _, err := get(client(t, &tls.Config{RootCAs: before.Pool()}), addr); err != nil {
		t.Errorf("the old pair went with half a new one: %v", err)
	}

	write(t, files.KeyFile, after.Key)
	if changed, err := c.reload(); !changed || err != nil {
		t.Errorf("a new pair: %v, %v", changed, err)
	}
	if _, _, err := get(client(t, &tls.Config{RootCAs: after.Pool()}), addr); err != nil {
		t.Errorf("the new pair: %v", err)
	}
	if _, _, err := get(kept, addr); err != nil {
		t.Errorf("the connection from before: %v", err)
	}
}

// Watch reloads without a call of reload, and logs each result once.
func TestCertificatesAreWatched(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		before, after := certtest.Issue(t, "before", nil, tomorrow()), certtest.Issue(t, "after", nil, tomorrow())
		files := install(t, before, nil)
		c, log := mustCertificates(t, files)
		if err := os.Remove(files.KeyFile); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * certificatePoll)
		synctest.Wait()
		if n := strings.Count(log.String(), "level=ERROR"); n != 1 {
			t.Errorf("%d errors for a missing file, want 1:\n%s", n, log)
		}
		write(t, files.CertFile, after.Cert)
		write(t, files.KeyFile, after.Key)
		time.Sleep(2 * certificatePoll)
		synctest.Wait()
		if got := c.current.Load().Certificates[0].Leaf.Subject.CommonName; got != "after" {
			t.Errorf("in use: %s", got)
		}
		if n := strings.Count(log.String(), "certificates reloaded"); n != 1 {
			t.Errorf("logged %d times, want 1:\n%s", n, log)
		}
	})
}

// Fault 27: requests over new connections while certificates and CAs change: none
// fails.
func TestMutualTLSReloadDropsNothingFault27(t *testing.T) {
	t.Parallel()
	ca := certtest.Issue(t, "ca", nil, tomorrow())
	user := certtest.Issue(t, "user", &ca, tomorrow())
	files := install(t, certtest.Issue(t, "server", &ca, tomorrow()), &ca)
	c, _ := mustCertificates(t, files)
	addr := serveTLS(t, c)
	config := &tls.Config{RootCAs: ca.Pool(), Certificates: []tls.Certificate{user.Pair}}

	var served atomic.Int64
	reloaded, progress := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-reloaded:
				return
			default:
			}
			cl := client(t, config.Clone())
			if _, _, err := get(cl, addr); err != nil {
				t.Errorf("request %d: %v", served.Load(), err)
			}
			cl.CloseIdleConnections()
			served.Add(1)
			select {
			case progress <- struct{}{}:
			default:
			}
		}
	})
	for range 10 {
		next := certtest.Issue(t, "server", &ca, tomorrow())
		write(t, files.CertFile, next.Cert)
		write(t, files.KeyFile, next.Key)
		if _, err := c.reload(); err != nil {
			t.Error(err)
		}
		<-progress
	}
	close(reloaded)
	wg.Wait()
	if served.Load() < 10 {
		t.Errorf("only %d requests", served.Load())
	}
}

// A client whose CA is taken away is out, its resumed sessions too.
func TestClientCAsAreReloaded(t *testing.T) {
	t.Parallel()
	ca, old, young := certtest.Issue(t, "ca", nil, tomorrow()), certtest.Issue(t, "old", nil, tomorrow()), certtest.Issue(t, "new", nil, tomorrow())
	files := install(t, ca, &old)
	c, _ := mustCertificates(t, files)
	addr := serveTLS(t, c)
	as := func(user *certtest.Issued, cache tls.ClientSessionCache, version uint16) *http.Client {
		config := &tls.Config{RootCAs: ca.Pool(), ClientSessionCache: cache, MaxVersion: version}
		if user != nil {
			config.Certificates = []tls.Certificate{user.Pair}
		}
		return client(t, config)
	}
	if _, _, err := get(as(nil, nil, 0), addr); err == nil {
		t.Error("a client without certificate got in")
	}
	oldUser, newUser := certtest.Issue(t, "user", &old, tomorrow()), certtest.Issue(t, "user", &young, tomorrow())
	if _, _, err := get(as(&newUser, nil, 0), addr); err == nil {
		t.Error("a client of another CA got in")
	}
	caches := map[uint16]tls.ClientSessionCache{tls.VersionTLS12: tls.NewLRUClientSessionCache(4), tls.VersionTLS13: tls.NewLRUClientSessionCache(4)}
	for version, cache := range caches {
		for i := range 2 {
			_, state, err := get(as(&oldUser, cache, version), addr)
			if err != nil {
				t.Fatal(err)
			}
			if state.DidResume != (i == 1) {
				t.Errorf("%s, request %d: resumed %v", tls.VersionName(version), i, state.DidResume)
			}
		}
	}
	write(t, files.ClientCAFile, young.Cert)
	if changed, err := c.reload(); !changed || err != nil {
		t.Fatalf("new client CAs: %v, %v", changed, err)
	}
	for version, cache := range caches {
		if _, _, err := get(as(&oldUser, cache, version), addr); err == nil {
			t.Errorf("%s: a session outlived its CA", tls.VersionName(version))
		}
	}
	if _, _, err := get(as(&newUser, nil, 0), addr); err != nil {
		t.Errorf("a client of the new CA: %v", err)
	}
}

func TestCertificateFilesThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	one, other := certtest.Issue(t, "one", nil, tomorrow()), certtest.Issue(t, "other", nil, tomorrow())
	cases := map[string]struct {
		change func(t *testing.T, files *Files)
		want   func(files Files) string
	}{
		"no key named":       {func(_ *testing.T, f *Files) { f.KeyFile = "" }, func(Files) string { return "key_file" }},
		"no cert named":      {func(_ *testing.T, f *Files) { f.CertFile = "" }, func(Files) string { return "cert_file" }},
		"only CAs named":     {func(_ *testing.T, f *Files) { f.CertFile, f.KeyFile = "", "" }, func(Files) string { return "requires both" }},
		"no cert":            {func(_ *testing.T, f *Files) { os.Remove(f.CertFile) }, func(f Files) string { return f.CertFile }},
		"no key":             {func(_ *testing.T, f *Files) { os.Remove(f.KeyFile) }, func(f Files) string { return f.KeyFile }},
		"no CAs":             {func(_ *testing.T, f *Files) { os.Remove(f.ClientCAFile) }, func(f Files) string { return f.ClientCAFile }},
		"not a pair":         {func(t *testing.T, f *Files) { write(t, f.KeyFile, other.Key) }, func(Files) string { return "does not match" }},
		"switched":           {func(_ *testing.T, f *Files) { f.CertFile, f.KeyFile = f.KeyFile, f.CertFile }, func(Files) string { return "switched" }},
		"empty cert":         {func(t *testing.T, f *Files) { write(t, f.CertFile, nil) }, func(f Files) string { return f.CertFile }},
		"CAs that are a key": {func(t *testing.T, f *Files) { write(t, f.ClientCAFile, other.Key) }, func(f Files) string { return f.ClientCAFile }},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := install(t, one, &one)
			c.change(t, &files)
			_, err := Watch(files, slog.New(slog.DiscardHandler))
			if err == nil || !strings.Contains(err.Error(), c.want(files)) || !strings.HasPrefix(err.Error(), "tls: ") {
				t.Fatalf("error %v, want one with %q", err, c.want(files))
			}
			if strings.Contains(err.Error(), string(other.Key[40:60])) {
				t.Errorf("the error shows the key: %v", err)
			}
		})
	}
}

func TestLogsCertificatesOutsideTheirValidity(t *testing.T) {
	t.Parallel()
	_, log := mustCertificates(t, install(t, certtest.Issue(t, "past", nil, time.Now().Add(-time.Hour)), nil))
	if !strings.Contains(log.String(), "has expired") {
		t.Errorf("log: %s", log)
	}
	_, log = mustCertificates(t, install(t, certtest.Issue(t, "future", nil, time.Now().Add(96*time.Hour)), nil))
	if !strings.Contains(log.String(), "not valid yet") {
		t.Errorf("log: %s", log)
	}
}

func TestNoCertificatesStop(t *testing.T) {
	t.Parallel()
	var c *Certificates
	c.Stop()
}

// The state tells what somebody has to do: a certificate that is about to expire, and files
// that cannot be used.
func TestStateReportsExpiryAndFailedReloads(t *testing.T) {
	t.Parallel()
	notAfter := time.Now().Add(30 * 24 * time.Hour).Truncate(time.Second)
	files := install(t, certtest.Issue(t, "long", nil, notAfter), nil)
	c, log := mustCertificates(t, files)
	if s, ok := c.State(); !ok || !s.NotAfter.Equal(notAfter) || s.Degraded() || s.FailedReloads != 0 || s.String() != "expires in 29 days" {
		t.Errorf("%+v: %s", s, s)
	}
	write(t, files.KeyFile, []byte("no key"))
	for range 3 {
		c.refresh()
	}
	if s, _ := c.State(); !s.Degraded() || s.FailedReloads != 1 || s.Broken == nil || !strings.Contains(s.String(), "cannot be used: ") || !s.NotAfter.Equal(notAfter) {
		t.Errorf("%+v: %s", s, s)
	}
	if n := strings.Count(log.String(), "level=ERROR"); n != 1 {
		t.Errorf("%d lines, want 1: %s", n, log)
	}
	soon := certtest.Issue(t, "soon", nil, time.Now().Add(3*24*time.Hour))
	write(t, files.CertFile, soon.Cert)
	write(t, files.KeyFile, soon.Key)
	c.refresh()
	if s, _ := c.State(); !s.Degraded() || s.Broken != nil || s.String() != "expires in 2 days" || !strings.Contains(log.String(), "certificates reloaded") {
		t.Errorf("%+v: %s", s, s)
	}
	if _, ok := (*Certificates)(nil).State(); ok {
		t.Error("a state without TLS")
	}
}

// A certificate that expires while it is in use is logged once.
func TestExpiryInUseIsLoggedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, log := mustCertificates(t, install(t, certtest.Issue(t, "short", nil, time.Now().Add(time.Hour)), nil))
		if log.String() != "" {
			t.Errorf("too early: %s", log)
		}
		time.Sleep(2 * time.Hour)
		if n := strings.Count(log.String(), "has expired"); n != 1 {
			t.Errorf("%d lines, want 1: %s", n, log)
		}
		if s, _ := c.State(); !s.Degraded() || s.String() != "expired for 1h0m0s" {
			t.Errorf("%+v: %s", s, s)
		}
		c.Stop()
	})
}
