package consul

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"

	"github.com/chassi-go/chassi/discovery/internal/api"
)

// Source is a discovery.Source of the instances of a service that pass all health checks.
type Source struct {
	agent agent
	path  string
	query url.Values
	index uint64 // of the last response; 0 for a non-blocking query
	known bool   // whether the last response was a success
	pace  api.Pace
}

// NewSource returns a source of the instances of a service or, if tag is not empty, of its
// instances with that tag. It returns an error if service is empty or c is invalid. It does not
// connect yet.
func NewSource(c Config, service, tag string) (*Source, error) {
	if service == "" {
		return nil, errors.New("consul: the service name is empty")
	}
	a, err := newAgent(c)
	if err != nil {
		return nil, err
	}
	s := &Source{agent: a, path: "/v1/health/service/" + url.PathEscape(service), query: url.Values{"passing": {"1"}}}
	if tag != "" {
		s.query.Set("tag", tag)
	}
	if a.Datacenter != "" {
		s.query.Set("dc", a.Datacenter)
	}
	return s, nil
}

// Close closes idle connections and returns nil.
func (s *Source) Close() error {
	s.agent.Close()
	return nil
}

// instance contains the fields of a response entry that are used.
type instance struct {
	Node struct {
		Address string
	}
	Service struct {
		Address string
		Port    int
	}
}

func (i instance) addr() string {
	return net.JoinHostPort(cmp.Or(i.Service.Address, i.Node.Address), strconv.Itoa(i.Service.Port))
}

// Next returns the addresses of the instances. The first call and any call after an error return at
// once. Other calls make a blocking query, which waits for a change for at most Config.Wait plus a
// sixteenth of it, or, after the agent's index has decreased, a query that does not block.
func (s *Source) Next(ctx context.Context) ([]string, error) {
	if s.known {
		s.pace.Wait(ctx)
	}
	var instances []json.RawMessage
	index, err := s.ask(ctx, &instances)
	if s.known = err == nil; !s.known {
		s.index = 0
		return nil, fmt.Errorf("consul: %w", err)
	}
	s.index = nextIndex(s.index, index)
	addrs := make([]string, len(instances))
	for i, raw := range instances {
		var entry instance
		if err := json.Unmarshal(raw, &entry); err != nil { //nolint:musttag // CamelCase names match without tags
			addrs[i] = fmt.Sprintf("entry %d: %v", i, err) // discovery.Follow skips and names it
			continue
		}
		addrs[i] = entry.addr()
	}
	return addrs, nil
}

// ask queries the instances, decodes the response into out, and returns the index of the response.
func (s *Source) ask(ctx context.Context, out any) (uint64, error) {
	within := s.agent.Timeout
	s.query.Del("index")
	if s.index > 0 {
		s.query.Set("index", strconv.FormatUint(s.index, 10))
		s.query.Set("wait", strconv.FormatInt(s.agent.Wait.Milliseconds(), 10)+"ms")
		within += s.agent.Wait + s.agent.Wait/16 // the maximum that the agent adds as jitter
	}
	header, err := s.agent.client.Do(ctx, api.Request{
		Method: http.MethodGet, URL: s.agent.URL + s.path + "?" + s.query.Encode(), Header: s.agent.header(), Out: out, Within: within,
	})
	if err != nil {
		return 0, err
	}
	index, err := strconv.ParseUint(header.Get("X-Consul-Index"), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("the header X-Consul-Index of the response is %q, want a number: the server at url is probably not a Consul agent", header.Get("X-Consul-Index"))
	}
	return index, nil
}

// nextIndex returns the index for the next query, as Consul's documentation advises ("Blocking
// Queries, Implementation Details"): index, but at least 1, because a query with a smaller index
// would not block. If the result would be less than last, nextIndex returns 0 instead, so that queries
// restart from the beginning.
func nextIndex(last, index uint64) uint64 {
	index = max(index, 1)
	if index < last {
		return 0
	}
	return index
}
