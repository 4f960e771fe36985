package discovery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/chassi-go/chassi/discovery/internal/addr"
)

// Static returns a source of addresses that never change. It returns an error if an address is not a
// valid host:port, or if there is no address.
func Static(addrs ...string) (Source, error) {
	if len(addrs) == 0 {
		return nil, errors.New("discovery: no address is given")
	}
	for _, a := range addrs {
		if _, err := addr.Canonical(a); err != nil {
			return nil, fmt.Errorf("discovery: %w", err)
		}
	}
	return &static{addrs: slices.Clone(addrs)}, nil
}

type static struct {
	addrs  []string
	passed bool
}

func (s *static) Next(ctx context.Context) ([]string, error) {
	if s.passed {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	s.passed = true
	return slices.Clone(s.addrs), nil
}

// Parse returns the source that text describes, or an error if text has none of these forms:
//
//	host:8080                 one address; its name is looked up with each connection
//	static:a:8080,b:8080      several addresses
//	dns:auth.internal:8080    all addresses (A, AAAA) of a name
//	srv:_grpc._tcp.internal   the targets (SRV) of a name, with the lowest priority number
func Parse(text string) (Source, error) {
	scheme, rest, _ := strings.Cut(text, ":")
	switch scheme {
	case "static":
		return Static(strings.Split(rest, ",")...)
	case "dns":
		return DNS(rest, DNSOptions{})
	case "srv":
		return SRV(rest, DNSOptions{})
	}
	source, err := Static(text)
	if err != nil {
		return nil, fmt.Errorf("%w; the other forms are static:HOST:PORT,HOST:PORT, dns:NAME:PORT and srv:NAME", err)
	}
	return source, nil
}
