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

// healthTimeout is the timeout of a health check: more than the timeout of a dependency probe, two
// seconds, and less than the timeout in deploy/Dockerfile, three seconds.
const healthTimeout = 2800 * time.Millisecond

// healthcheck is the command that requests the readiness of a program with the same configuration,
// in the same network namespace, from the admin listener of that program. It prints "ready", or
// returns an error if the program is not ready.
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
		return fmt.Errorf("not ready: request to admin.addr (%q): %w", base.Admin.Addr, err)
	case status != http.StatusOK:
		return fmt.Errorf("not ready: %s", strings.TrimSpace(body))
	default:
		_, err = fmt.Fprintln(i.Out, "ready")
		return err //nolint:wrapcheck // stdout's
	}
}

// adminAddrs returns the addresses at which a listener on addr can be reached: addr itself or, if
// addr stands for all interfaces, the loopback addresses of IPv4 and IPv6. It returns an error if
// addr is invalid or has no fixed port.
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

// askReadiness requests /readyz from the first address in addrs that accepts a connection, and
// returns the status code and at most 64 KiB of the body of the response. The request uses no
// proxy, and has the host name localhost, for which the listener always serves requests.
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
