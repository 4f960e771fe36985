package httpclient

import (
	"container/list"
	"net/url"
	"strings"
	"sync"

	"github.com/chassi-go/chassi/breaker"
	"github.com/chassi-go/chassi/retry"
)

// host holds the breaker and the retry policy of a host and port.
type host struct {
	name    string // host:port
	class   string // value of the host label in metrics
	traced  bool   // whether the host receives the trace context
	breaker *breaker.Breaker
	retry   retry.Policy
}

func (t *Transport) newHost(name string) *host {
	h := &host{name: name, class: "other"}
	longest := 0 // length of the longest pattern that matches, which is the most specific one
	for pattern, class := range t.options.HostClasses {
		if matches(pattern, name) && len(pattern) > longest {
			h.class, longest = class, len(pattern)
		}
	}
	for _, pattern := range t.options.TraceHosts {
		h.traced = h.traced || matches(pattern, name)
	}
	h.breaker = breaker.New(breaker.Options{Config: t.options.Breaker, Name: name, OnChange: func(from, to breaker.State) {
		t.options.Logger.Warn("circuit breaker changed", "client", t.options.Name, "host", name, "from", from.String(), "to", to.String())
	}})
	c := t.options.Retry
	h.retry = retry.Policy{Config: c.Config, Budget: retry.NewBudget(c.Budget, c.Burst), Retryable: retryable}
	return h
}

// matches reports whether pattern, of the form HOST, HOST:PORT or *.DOMAIN, matches name, a host
// and port in lower case.
func matches(pattern, name string) bool {
	pattern = strings.ToLower(pattern)
	if pattern == name {
		return true
	}
	hostname := (&url.URL{Host: name}).Hostname()
	domain, all := strings.CutPrefix(pattern, "*")
	return pattern == hostname || all && strings.HasPrefix(domain, ".") && strings.HasSuffix(hostname, domain)
}

// hosts holds the most recently used hosts.
type hosts struct {
	max     int
	newHost func(name string) *host

	mu     sync.Mutex
	byName map[string]*list.Element
	used   *list.List // of *host, the last used one first
}

func newHosts(maximum int, newHost func(string) *host) hosts {
	return hosts{max: maximum, newHost: newHost, byName: make(map[string]*list.Element), used: list.New()}
}

// get returns the host of a URL. It adds the host if it is unknown, and removes the least recently
// used one if there are already max hosts.
func (h *hosts) get(u *url.URL) *host {
	name := hostPort(u)
	h.mu.Lock()
	defer h.mu.Unlock()
	if known := h.byName[name]; known != nil {
		h.used.MoveToFront(known)
		return known.Value.(*host)
	}
	if oldest := h.used.Back(); len(h.byName) >= h.max {
		h.used.Remove(oldest)
		delete(h.byName, oldest.Value.(*host).name)
	}
	added := h.newHost(name)
	h.byName[name] = h.used.PushFront(added)
	return added
}

// hostPort returns the host and port of u, in lower case and without a final dot. The default port
// is that of the scheme.
func hostPort(u *url.URL) string {
	port := u.Port()
	switch {
	case port != "":
	case u.Scheme == "http":
		port = "80"
	default:
		port = "443"
	}
	name := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	if strings.Contains(name, ":") {
		name = "[" + name + "]"
	}
	return name + ":" + port
}
