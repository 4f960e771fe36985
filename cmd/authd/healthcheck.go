package main

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

// healthTimeout bounds a health check. It is a second more than a probe of readiness may
// take, and ends before Docker's own time of three seconds.
const healthTimeout = 2800 * time.Millisecond

// healthcheck asks the admin listener of the same configuration, in this network
// namespace, whether the service is ready.
func healthcheck(ctx context.Context, p *program) error {
	addrs, err := adminAddrs(p.config.Admin.Addr)
	if err != nil {
		return usageError{err}
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
		return p.say("ready")
	}
}

// adminAddrs returns where to find a listener on addr: at addr, or, if that is all
// interfaces, on loopback in IPv4 and IPv6.
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

// askReadiness asks for /readyz at the first of the addresses that takes a connection. It
// asks for localhost, under which the listener is always served, and through no proxy.
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
	answer, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return 0, "", err //nolint:wrapcheck // says what
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	return answer.StatusCode, string(text), err //nolint:wrapcheck // says what
}
