package etcd

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/chassi-go/chassi/discovery/internal/addr"
	"github.com/chassi-go/chassi/discovery/internal/api"
	"github.com/chassi-go/chassi/discovery/internal/keeper"
	"net/http"
)

// Service describes the service to register.
type Service struct {
	Name string
	Addr string // host:port of the service
	ID   string // unique for each instance; default Addr
	// Probe is the health check of the service. While it returns an error, the service is not
	// registered. Probe must return when its context is done. By default the service is always
	// healthy.
	Probe func(context.Context) error
}

// Registration keeps a service registered under a lease. An outage of etcd is logged once, and the
// registration is retried; a lost lease or key is created again. Registration is a
// chassi.Component: Drain, or else Stop, ends the registration, so that clients stop calling before
// the service stops.
type Registration struct{ keeper *keeper.Keeper }

// NewRegistration returns a Registration that has not been started. It returns an error if c or s
// is invalid.
func NewRegistration(c Config, s Service) (*Registration, error) {
	r, err := newRegistry(c, s)
	if err != nil {
		return nil, err
	}
	return &Registration{keeper.New(keeper.Options{
		Name: "etcd", Service: s.Name, Probe: s.Probe, Interval: r.cluster.TTL / 3, Timeout: r.cluster.Timeout, Logger: c.Logger,
	}, r)}, nil
}

// Name returns "etcd".
func (r *Registration) Name() string { return r.keeper.Name() }

// Start begins to register the service and returns at once, whether or not etcd is available.
func (r *Registration) Start(ctx context.Context) error { return r.keeper.Start(ctx) }

// Drain begins to deregister the service and returns at once.
func (r *Registration) Drain() { r.keeper.Drain() }

// Stop deregisters the service. If etcd is unavailable, Stop logs that and returns nil. It returns
// an error if the probe or an earlier call to etcd has not returned when ctx is done.
func (r *Registration) Stop(ctx context.Context) error { return r.keeper.Stop(ctx) }

// registry implements keeper.Registry with etcd, for one service.
type registry struct {
	cluster *cluster
	key     string // base64, like value
	value   string
	lease   string // ID of the lease, a number that JSON represents as a string; "" for none
	tried   bool   // whether a put was attempted and may have succeeded
}

func newRegistry(c Config, s Service) (*registry, error) {
	l, err := newCluster(c)
	if err != nil {
		return nil, err
	}
	if s.Name == "" || strings.Contains(s.Name, "/") {
		return nil, errors.New("etcd: the service name must not be empty or contain a slash")
	}
	if _, err := addr.Canonical(s.Addr); err != nil {
		return nil, fmt.Errorf("etcd: service %q: %w", s.Name, err)
	}
	value, err := json.Marshal(map[string]any{"Op": 0, "Addr": s.Addr}) // 0 is Add
	if err != nil {
		return nil, fmt.Errorf("etcd: %w", err)
	}
	return &registry{cluster: l, key: encode(l.folder(s.Name) + cmp.Or(s.ID, s.Addr)), value: encode(string(value))}, nil
}

// Beat keeps the lease alive. It ensures that the key exists if the service is healthy, and deletes
// the key if not.
func (r *registry) Beat(ctx context.Context, health error) error {
	if err := r.keepLease(ctx); err != nil {
		return err
	}
	if health != nil {
		return r.withdraw(ctx)
	}
	there, err := r.isThere(ctx)
	if err != nil || there {
		return err
	}
	r.tried = true
	return r.cluster.call(ctx, "/v3/kv/put", map[string]any{"key": r.key, "value": r.value, "lease": r.lease}, nil)
}

// keepLease renews the lease, or requests a new one if there is none or it has expired.
func (r *registry) keepLease(ctx context.Context) error {
	if r.lease != "" {
		var kept struct {
			Result struct {
				TTL int64 `json:"ttl,string"`
			}
		}
		if err := r.cluster.call(ctx, "/v3/lease/keepalive", map[string]any{"ID": r.lease}, &kept); err != nil {
			return err
		}
		if kept.Result.TTL > 0 {
			return nil
		}
	}
	var granted struct{ ID string }
	seconds := strconv.Itoa(int((r.cluster.TTL + time.Second - 1) / time.Second))
	if err := r.cluster.call(ctx, "/v3/lease/grant", map[string]any{"TTL": seconds}, &granted); err != nil {
		return err
	}
	r.lease = granted.ID
	return nil
}

// isThere reports whether the key exists and belongs to the lease of r. The key may instead belong
// to the lease of an earlier process that did not deregister, and then expires with that lease.
func (r *registry) isThere(ctx context.Context) (bool, error) {
	if !r.tried {
		return false, nil
	}
	var response struct{ KVs []pair }
	err := r.cluster.call(ctx, "/v3/kv/range", map[string]any{"key": r.key, "keys_only": true}, &response)
	return err == nil && len(response.KVs) == 1 && strconv.FormatInt(response.KVs[0].Lease, 10) == r.lease, err
}

func (r *registry) withdraw(ctx context.Context) error {
	if !r.tried {
		return nil
	}
	err := r.cluster.call(ctx, "/v3/kv/deleterange", map[string]any{"key": r.key}, nil)
	r.tried = err != nil
	return err
}

// Remove revokes the lease, which deletes the key.
func (r *registry) Remove(ctx context.Context) error {
	if r.lease == "" {
		return nil
	}
	err := r.cluster.call(ctx, "/v3/lease/revoke", map[string]any{"ID": r.lease}, nil)
	if api.IsStatus(err, http.StatusNotFound) {
		err = nil // the lease has already expired
	}
	if err == nil {
		r.lease, r.tried = "", false
	}
	return err
}

func (r *registry) Close() { r.cluster.client.Close() }
