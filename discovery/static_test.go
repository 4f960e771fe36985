package discovery_test

import (
	"context"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chassi-go/chassi/discovery"
)

func TestStaticReportsOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		given := []string{"a:1", "[::1]:65535"}
		source, err := discovery.Static(given...)
		if err != nil {
			t.Fatal(err)
		}
		given[0] = "changed:1"
		if addrs, err := source.Next(t.Context()); err != nil || !slices.Equal(addrs, []string{"a:1", "[::1]:65535"}) {
			t.Errorf("Next returned %q, %v", addrs, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		began := time.Now()
		if _, err := source.Next(ctx); err == nil || time.Since(began) != time.Hour {
			t.Errorf("the second call returned %v after %v, want the end of ctx", err, time.Since(began))
		}
	})
}

var (
	goodTexts = []string{
		"localhost:8080", "10.0.0.1:1", "[::1]:8080", "static:a:1,b:65535", "static:[2001:db8::1]:80",
		"dns:auth.prod.svc.cluster.local:9090", "dns:auth.internal.:1", "srv:_grpc._tcp.auth.internal", "srv:internal.",
	}
	badTexts = []string{
		"", ":", "a", ":80", "a:", "a:0", "a:65536", "a:http", "a:-1", "a:+1", "a b:80", "http://a:80", "a:1,b:1", "user@a:80",
		"static:", "static:a", "static:a:1,", "static:a:1, b:1", "static:a:1,,b:1", "static:a:1\n",
		"dns:", "dns:a", "dns:a:x", "dns:::1:80", "srv:", "srv:a:80", "srv:a b", "srv:a/b",
	}
)

func TestParse(t *testing.T) {
	t.Parallel()
	for _, text := range goodTexts {
		if source, err := discovery.Parse(text); err != nil || source == nil {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, text := range badTexts {
		source, err := discovery.Parse(text)
		if err == nil || source != nil {
			t.Errorf("%q: got a source, %v", text, err)
		} else if !strings.HasPrefix(err.Error(), "discovery: ") {
			t.Errorf("%q: the error %q does not say whose it is", text, err)
		}
	}
	if _, err := discovery.Static(); err == nil {
		t.Error("no address is taken for a source")
	}
}

// A list that is accepted can be dialed: each address has a host and a port.
func FuzzParse(f *testing.F) {
	for _, text := range append(slices.Clone(goodTexts), badTexts...) {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		source, err := discovery.Parse(text)
		if (err == nil) == (source == nil) {
			t.Fatalf("%q: source %v with error %v", text, source, err)
		}
		if err != nil || strings.HasPrefix(text, "dns:") || strings.HasPrefix(text, "srv:") {
			return
		}
		addrs, err := source.Next(t.Context())
		if err != nil || len(addrs) == 0 {
			t.Fatalf("%q: %q, %v", text, addrs, err)
		}
		for _, addr := range addrs {
			host, port, err := net.SplitHostPort(addr)
			n, bad := strconv.Atoi(port)
			if err != nil || bad != nil || host == "" || n < 1 || n > 65535 {
				t.Fatalf("%q: address %q", text, addr)
			}
		}
	})
}
