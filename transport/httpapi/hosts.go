package httpapi

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/chassi-go/chassi"
)

// hostPolicy decides which requests a private listener serves. It protects the listener from web
// pages in browsers on the same machine or network. Such a page can send requests across origins,
// or under a host name that resolves to the listener's address (DNS rebinding), in which case the
// browser even lets the page read the responses.
type hostPolicy struct {
	names       map[string]bool
	misdirected error
}

// newHostPolicy returns the policy that allows localhost and the host names in names. It returns
// nil, which is the policy that allows all requests, if names is nil, and an error if a name is
// invalid. Server is the name of the server in errors.
func newHostPolicy(server string, names []string) (*hostPolicy, error) {
	if names == nil {
		return nil, nil //nolint:nilnil // no policy
	}
	p := &hostPolicy{
		names: map[string]bool{"localhost": true},
		misdirected: &statusError{http.StatusMisdirectedRequest, chassi.NewError(chassi.PermissionDenied, "host_not_allowed",
			"This listener is not served under that host name: use localhost or an IP address, or add the name to "+server+".hosts")},
	}
	for _, name := range names {
		canonical := canonicalName(name)
		if !isHostName(canonical) {
			return nil, fmt.Errorf("%s.hosts: %q is not a host name; want a name without scheme and port, such as metrics.internal", server, name)
		}
		p.names[canonical] = true
	}
	return p, nil
}

var errCrossSite = &statusError{http.StatusForbidden, chassi.NewError(chassi.PermissionDenied, "cross_site",
	"This listener accepts no requests from web pages of other origins")}

// check returns the reason why r is refused, or nil if r is allowed.
func (p *hostPolicy) check(r *http.Request) error {
	switch {
	case p == nil:
		return nil
	case !p.allows(r.Host):
		return p.misdirected
	case isCrossSite(r):
		return errCrossSite
	default:
		return nil
	}
}

// allows reports whether host, the value of a Host header, is empty or, without its port, an IP
// address or an allowed name. Addresses are safe, because the origin of a page is an address only
// if the page was loaded from that address; so probes by address need no setting. An empty value is
// also safe: HTTP/1.0 probes send no host, but browsers always do.
func (p *hostPolicy) allows(host string) bool {
	name := withoutPort(host)
	if _, err := netip.ParseAddr(name); err == nil || host == "" {
		return true
	}
	return p.names[canonicalName(name)]
}

// withoutPort returns the name or address in host, without a port and without the brackets around
// an IPv6 address.
func withoutPort(host string) string {
	if inner, ok := strings.CutPrefix(host, "["); ok {
		address, _, _ := strings.Cut(inner, "]")
		return address
	}
	if name, _, found := strings.Cut(host, ":"); found && strings.Count(host, ":") == 1 {
		return name
	}
	return host
}

// canonicalName returns name in lowercase and without a final dot, which stands for the DNS root.
func canonicalName(name string) string { return strings.TrimSuffix(strings.ToLower(name), ".") }

func isHostName(name string) bool {
	return name != "" && len(name) <= 253 && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-_.") == "" && !strings.Contains(name, "..")
}

// isCrossSite reports whether the header Sec-Fetch-Site or Origin shows that a page of another
// origin made the request (Fetch Metadata, section 2.3; Fetch, section 3.2). Programs that are not
// browsers send neither header.
func isCrossSite(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "same-origin", "none": // none: the user typed the address
		return false
	case "":
	default:
		return true
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return false
	}
	u, err := url.Parse(origin)
	return err != nil || u.Host == "" || !strings.EqualFold(u.Host, r.Host)
}
