package standard

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// healthTimeout is the timeout of a health check: a second more than that of a readiness probe,
// and less than Docker's timeout of three seconds.
const healthTimeout = 2800 * time.Millisecond

// healthcheck queries the admin listener of the same configuration, in this network namespace,
// for readiness.
func healthcheck[C any](ctx context.Context, i *Invocation[C]) error {
	base, err := baseOf(i.Config)
	if err != nil {
		return err
	}
	addrs, err := adminAddrs(base.Admin.Addr)
	if err != nil {
		return UsageError{err}
	}
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	status, body, err := askReadiness(ctx, addrs)
	switch {
	case err != nil:
		return fmt.Errorf("not ready: %w", err)
	case status != http.StatusOK:
		return fmt.Errorf("not ready: %s", strings.TrimSpace(body))
	default:
		_, err = fmt.Fprintln(i.Out, "ready")
		return err //nolint:wrapcheck // stdout's
	}
}

// adminAddrs returns the addresses of a listener on addr: addr itself, or, for all interfaces,
// loopback in IPv4 and IPv6.
func adminAddrs(addr string) ([]string, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("admin.addr: %w", err)
	}
	if port == "0" || port == "" {
		return nil, fmt.Errorf("admin.addr (%q): the health check needs a fixed port", addr)
	}
	if ip := net.ParseIP(host); host != "" && (ip == nil || !ip.IsUnspecified()) {
		return []string{addr}, nil
	}
	return []string{net.JoinHostPort("127.0.0.1", port), net.JoinHostPort("::1", port)}, nil
}

// askReadiness requests /readyz from the first address that accepts a connection. It uses the
// host name localhost, which the listener always serves, and no proxy.
func askReadiness(ctx context.Context, addrs []string) (status int, body string, err error) {
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var errs []error
		for _, addr := range addrs {
			conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
			if err == nil {
				return conn, nil
			}
			errs = append(errs, err)
		}
		return nil, errors.Join(errs...)
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/readyz", nil)
	if err != nil {
		return 0, "", err //nolint:wrapcheck // the URL is constant
	}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return 0, "", err //nolint:wrapcheck // says what
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 64<<10))
	return response.StatusCode, string(text), err //nolint:wrapcheck // says what
}
