// Package balancer implements a small load balancer for measurements and tests. It polls the
// readiness of the nodes, as most load balancers do, and never retries a failed call.
package balancer

import (
	"context"
	"errors"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"net/http/httputil"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// Node is one instance of a service behind a [Balancer].
type Node struct {
	URL       string // the URL to which calls are forwarded: http://host:port
	Readiness string // the URL that responds with 200 when the node is ready
}

// Balancer is an HTTP handler that forwards calls in turn to the nodes that were ready at the last
// poll. [Balancer.Run] polls the nodes; no node is ready before its first poll. A failed poll
// removes a node, and a successful poll adds it again. Idle connections to nodes stay open for half
// a minute. A Balancer is safe for concurrent use.
type Balancer struct {
	every   time.Duration
	targets []*target
	proxy   *httputil.ReverseProxy
	calls   *http.Transport
	next    atomic.Uint64
}

type target struct {
	url       *url.URL
	readiness string
	ready     atomic.Bool
}

var (
	errNoNode = errors.New("no node is ready")
	errAgain  = errors.New("the connection was closed by the node, and net/http repeated the call on another connection")
)

// New returns a balancer that polls the readiness of each node at the interval every, which must be
// greater than 0. It returns an error if the URL of a node is invalid.
func New(every time.Duration, nodes ...Node) (*Balancer, error) {
	b := &Balancer{every: every, calls: &http.Transport{MaxIdleConnsPerHost: 256, IdleConnTimeout: 30 * time.Second}}
	for _, n := range nodes {
		u, err := url.Parse(n.URL)
		if err != nil {
			return nil, err
		}
		b.targets = append(b.targets, &target{url: u, readiness: n.Readiness})
	}
	b.proxy = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(r.In.Context().Value(targetKey{}).(*target).url)
			r.SetXForwarded()
		},
		Transport: roundTripper(b.once),
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, err.Error(), http.StatusBadGateway)
		},
		ErrorLog: log.New(io.Discard, "", 0), // callers see it
	}
	return b, nil
}

type targetKey struct{}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// once sends r to a node and returns the response. It returns an error if net/http has sent r more
// than once, because other load balancers do not retry.
func (b *Balancer) once(r *http.Request) (*http.Response, error) {
	var connections atomic.Int32
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connections.Add(1) }}
	response, err := b.calls.RoundTrip(r.WithContext(httptrace.WithClientTrace(r.Context(), trace)))
	if err == nil && connections.Load() > 1 {
		return nil, errors.Join(errAgain, response.Body.Close())
	}
	return response, err
}

// ServeHTTP forwards the call to a node. It responds with status 503 if no node is ready, and with
// status 502 if the call cannot be forwarded.
func (b *Balancer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var ready []*target
	for _, t := range b.targets {
		if t.ready.Load() {
			ready = append(ready, t)
		}
	}
	if len(ready) == 0 {
		http.Error(w, errNoNode.Error(), http.StatusServiceUnavailable)
		return
	}
	chosen := ready[b.next.Add(1)%uint64(len(ready))]
	b.proxy.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), targetKey{}, chosen)))
}

// Ready returns the number of nodes that were ready at the last poll.
func (b *Balancer) Ready() (n int) {
	for _, t := range b.targets {
		if t.ready.Load() {
			n++
		}
	}
	return n
}

// Run polls the readiness of each node independently, and returns when ctx is done.
func (b *Balancer) Run(ctx context.Context) {
	probes := &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{}}
	defer probes.CloseIdleConnections()
	defer b.calls.CloseIdleConnections()
	var polling sync.WaitGroup
	for _, t := range b.targets {
		polling.Go(func() { b.poll(ctx, probes, t) })
	}
	polling.Wait()
}

func (b *Balancer) poll(ctx context.Context, probes *http.Client, t *target) {
	next := time.NewTimer(rand.N(b.every))
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
			next.Reset(b.every)
		}
		t.ready.Store(ask(ctx, probes, t.readiness))
	}
}

func ask(ctx context.Context, probes *http.Client, readiness string) bool {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, readiness, nil)
	if err != nil {
		return false
	}
	response, err := probes.Do(r)
	if err != nil {
		return false
	}
	_, err = io.Copy(io.Discard, response.Body)
	return errors.Join(err, response.Body.Close()) == nil && response.StatusCode == http.StatusOK
}
