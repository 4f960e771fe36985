package discovery

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/chassi-go/chassi/discovery/internal/addr"
)

// DNSOptions configures [DNS] and [SRV]. All fields have defaults.
type DNSOptions struct {
	// Interval is the mean delay between a successful lookup and the next one; each delay is random
	// between three quarters and five quarters of Interval, so that clients do not query
	// simultaneously. Go's resolver does not return the TTL of records. The default is 10s.
	Interval time.Duration
	Timeout  time.Duration // of one lookup; default 5s
	// Resolver makes the lookups. The default is net.DefaultResolver. With StrictErrors, a lookup
	// fails if one of the A and AAAA queries fails with a temporary error, even if the other
	// succeeds.
	Resolver *net.Resolver
}

// DNS returns a source of all addresses, IPv4 and IPv6, of the host in hostPort, such as a headless
// service of Kubernetes. It returns an error if hostPort is not a valid host:port. While the host does
// not exist, Next returns an error, so that the last addresses stay in use.
func DNS(hostPort string, o DNSOptions) (Source, error) {
	if _, err := addr.Canonical(hostPort); err != nil {
		return nil, fmt.Errorf("discovery: dns: %w", err)
	}
	host, port, _ := net.SplitHostPort(hostPort) // already validated
	return newDNS(o, func(ctx context.Context, r *net.Resolver) ([]string, error) {
		addrs, err := r.LookupHost(ctx, host)
		for i := range addrs {
			addrs[i] = net.JoinHostPort(addrs[i], port)
		}
		return addrs, err //nolint:wrapcheck // says what, with the name
	}), nil
}

// SRV returns a source of the targets in the SRV records of name (RFC 2782), such as
// "_grpc._tcp.auth.internal". It uses the targets with the lowest priority number and ignores
// weights, because clients balance by measured latency. It returns an error if name is malformed.
func SRV(name string, o DNSOptions) (Source, error) {
	if name == "" || strings.ContainsAny(name, ":/ ") {
		return nil, fmt.Errorf("discovery: SRV name %q: want _SERVICE._PROTOCOL.DOMAIN", name)
	}
	return newDNS(o, func(ctx context.Context, r *net.Resolver) ([]string, error) {
		_, records, err := r.LookupSRV(ctx, "", "", name)
		if len(records) == 0 {
			return nil, err //nolint:wrapcheck // says what, with the name
		}
		// Malformed records are omitted; err reports them.
		best := records[0].Priority // records are sorted
		var addrs []string
		for _, record := range records {
			if record.Priority == best && record.Target != "." {
				addrs = append(addrs, net.JoinHostPort(strings.TrimSuffix(record.Target, "."), strconv.Itoa(int(record.Port))))
			}
		}
		return addrs, nil
	}), nil
}

func newDNS(o DNSOptions, lookup func(context.Context, *net.Resolver) ([]string, error)) *dns {
	o.Interval = orDefault(o.Interval, 10*time.Second)
	o.Timeout = orDefault(o.Timeout, 5*time.Second)
	if o.Resolver == nil {
		o.Resolver = net.DefaultResolver
	}
	return &dns{DNSOptions: o, lookup: lookup}
}

type dns struct {
	DNSOptions

	lookup func(context.Context, *net.Resolver) ([]string, error)
	known  bool
}

func (d *dns) Next(ctx context.Context) ([]string, error) {
	if d.known {
		sleep(ctx, d.Interval*3/4+rand.N(d.Interval/2+1))
	}
	ctx, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	addrs, err := d.lookup(ctx, d.Resolver)
	d.known = err == nil
	return addrs, err
}
