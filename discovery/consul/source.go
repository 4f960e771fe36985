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

// Source returns the instances of a service that pass all checks. It is a discovery.Source.
type Source struct {
	agent agent
	path  string
	query url.Values
	index uint64 // of the last response; 0 for a non-blocking query
	known bool   // whether the last response was a success
	pace  api.Pace
}

// NewSource returns a source of the instances of a service. If tag is not empty, these are only
// the instances with this tag. It does not connect yet.
func NewSource(c Config, service, tag string) (*Source, error) {
	if service == "" {
		return nil, errors.New("consul: want the name of a service")
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

// Close closes the idle connections.
func (s *Source) Close() error {
	s.agent.Close()
	return nil
}

// instance holds the fields of an entry that are used.
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

// Next returns the addresses of the instances. After a call that succeeded it makes a blocking
// query, which waits for a change, at most for Config.Wait.
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

// ask queries the instances, decodes the response into out, and returns its index.
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
		return 0, fmt.Errorf("X-Consul-Index is %q: the server is not a Consul agent", header.Get("X-Consul-Index"))
	}
	return index, nil
}

// nextIndex returns the index for the next query, as Consul's documentation advises ("Blocking
// Queries, Implementation Details"): 0 after an index that decreases, so that queries restart from
// the beginning, and otherwise at least 1, because a query with a smaller index would not block.
func nextIndex(last, index uint64) uint64 {
	index = max(index, 1)
	if index < last {
		return 0
	}
	return index
}
