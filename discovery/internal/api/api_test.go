package api_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chassi-go/chassi/discovery/internal/api"
	"github.com/chassi-go/chassi/internal/certtest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newClient(t *testing.T, o api.Options) *api.Client {
	t.Helper()
	if o.Timeout == 0 {
		o.Timeout = 500 * time.Millisecond
	}
	c, err := api.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// A server that wants certificates of its clients, all from files.
func TestClientCertificate(t *testing.T) {
	t.Parallel()
	ca := certtest.Issue(t, "ca", nil, time.Now().Add(24*time.Hour))
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%q", r.TLS.PeerCertificates[0].Subject.CommonName)
	}))
	server.TLS = &tls.Config{
		Certificates: []tls.Certificate{certtest.Issue(t, "server", &ca, time.Now().Add(24*time.Hour)).Pair},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: ca.Pool(),
	}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	client, dir := certtest.Issue(t, "client", &ca, time.Now().Add(24*time.Hour)), t.TempDir()
	o := api.Options{CAFile: filepath.Join(dir, "ca"), CertFile: filepath.Join(dir, "cert"), KeyFile: filepath.Join(dir, "key")}
	for file, pem := range map[string][]byte{o.CAFile: ca.Cert, o.CertFile: client.Cert, o.KeyFile: client.Key} {
		if err := os.WriteFile(file, pem, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var name string
	request := api.Request{Method: http.MethodGet, URL: server.URL, Out: &name}
	if _, err := newClient(t, o).Do(t.Context(), request); err != nil || name != "client" {
		t.Errorf("with a certificate: %q, %v", name, err)
	}
	if _, err := newClient(t, api.Options{CAFile: o.CAFile}).Do(t.Context(), request); err == nil {
		t.Error("the server takes a client without certificate: the test shows nothing")
	}
	if _, err := newClient(t, api.Options{}).Do(t.Context(), request); err == nil {
		t.Error("a certificate of an unknown CA is taken")
	}
}

func TestTokenDoesNotFollowRedirects(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{}, 1)
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked <- struct{}{} }))
	defer other.Close()
	server := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	defer server.Close()
	_, err := newClient(t, api.Options{}).Do(t.Context(), api.Request{Method: http.MethodGet, URL: server.URL, Header: http.Header{"X-Consul-Token": {"canary"}}})
	if !api.IsStatus(err, http.StatusTemporaryRedirect) || len(asked) != 0 {
		t.Errorf("error %v, the other server was asked %d times", err, len(asked))
	}
}

func TestStream(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/late":
			<-r.Context().Done()
		case "/long":
			for spaces := []byte(strings.Repeat(" ", 1<<20)); ; {
				if _, err := w.Write(spaces); err != nil {
					return
				}
			}
		case "/rubbish":
			fmt.Fprintln(w, "<html>")
		case "/hangs":
			fmt.Fprintln(w, "1")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		default:
			fmt.Fprint(w, "\n1\n\n2")
		}
	}))
	defer server.Close()
	client := newClient(t, api.Options{})
	open := func(path string) (*api.Stream, error) {
		return client.Stream(t.Context(), api.Request{Method: http.MethodGet, URL: server.URL + path, Within: 3 * time.Second})
	}
	if _, err := open("/late"); err == nil {
		t.Error("a header that does not come is waited for")
	}
	for path, want := range map[string]struct {
		messages int
		ended    bool
	}{"/": {2, true}, "/long": {0, false}, "/rubbish": {0, false}, "/hangs": {1, false}} {
		s, err := open(path)
		if err != nil {
			t.Fatal(err)
		}
		n, number := 0, 0
		for err = s.Next(t.Context(), &number); err == nil; err = s.Next(t.Context(), &number) {
			n++
		}
		if n != want.messages || errors.Is(err, api.ErrEnd) != want.ended {
			t.Errorf("%s: %d messages, then %v", path, n, err)
		}
		s.Close()
	}
}

func TestStreamEndsWithContext(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}))
	defer server.Close()
	s, err := newClient(t, api.Options{}).Stream(t.Context(), api.Request{Method: http.MethodGet, URL: server.URL, Within: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := s.Next(ctx, new(int)); err == nil || time.Since(began) > 5*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}
