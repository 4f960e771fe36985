package amqpapi_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/internal/certtest"
	"github.com/chassi-go/chassi/transport/amqpapi"
)

// encrypted ends TLS in front of the broker, and returns its address.
func encrypted(t *testing.T, broker string, certificate tls.Certificate) string {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate}})
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			front, err := l.Accept()
			if err != nil {
				return
			}
			back, err := net.Dial("tcp", broker)
			if err != nil {
				t.Error(err)
				return
			}
			running.Go(func() { _, _ = io.Copy(back, front); back.Close() })
			running.Go(func() { _, _ = io.Copy(front, back); front.Close() })
		}
	})
	t.Cleanup(func() { l.Close(); running.Wait() })
	return l.Addr().String()
}

// Over amqps a call is made when the CA of the server's certificate is known, and no
// connection when it is not.
func TestTLS(t *testing.T) {
	t.Parallel()
	u, err := url.Parse(rabbitURL(t))
	if err != nil {
		t.Fatal(err)
	}
	issued := certtest.Issue(t, "127.0.0.1", nil, time.Now().Add(time.Hour))
	caFile := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(caFile, issued.Cert, 0o600); err != nil {
		t.Fatal(err)
	}
	p := prefix(t, u.String(), "block.v1.Block")
	u.Scheme, u.Host = "amqps", encrypted(t, u.Host, issued.Pair)
	g := newBlocker()
	s := start(t, amqpapi.Config{URL: u.String(), CAFile: caFile, Prefix: p}, nil, g.service("block.v1.Block"))
	defer stop(t, s)
	connection := dial(t, amqpapi.ClientConfig{URL: u.String() + "?cacertfile=" + url.QueryEscape(caFile), Prefix: p})
	c, err := client.New(g.service("block.v1.Block"), connection)
	if err != nil {
		t.Fatal(err)
	}
	if err := invoke(t, c, "Do"); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := amqpapi.Dial(ctx, amqpapi.ClientConfig{URL: u.String(), Logger: quiet}); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("without the CA: %v", err)
	}
}
