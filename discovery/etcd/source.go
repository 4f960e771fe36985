package etcd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"

	"github.com/chassi-go/chassi/discovery/internal/api"
)

// Source is a discovery.Source of the registered instances of a service.
type Source struct {
	cluster  *cluster
	folder   string
	addrs    map[string]string // by key
	revision int64             // of etcd, at which addrs were queried
	watch    *api.Stream       // of the changes after revision; nil for none
	pace     api.Pace
}

// NewSource returns a source of the instances of a service. It returns an error if service is empty
// or c is invalid. It does not connect yet.
func NewSource(c Config, service string) (*Source, error) {
	if service == "" {
		return nil, errors.New("etcd: the service name is empty")
	}
	l, err := newCluster(c)
	if err != nil {
		return nil, err
	}
	return &Source{cluster: l, folder: l.folder(service)}, nil
}

// Close ends the watch, closes idle connections and returns nil.
func (s *Source) Close() error {
	s.reset()
	s.cluster.client.Close()
	return nil
}

// reset ends the watch and discards the addresses, so that Next queries all instances again.
func (s *Source) reset() {
	s.watch.Close()
	s.watch, s.addrs = nil, nil
}

// Next returns the addresses of the instances. The first call and any call after an error query all
// instances; other calls watch for changes. When a watch ends, for example because its member is
// unavailable or the revision was compacted, Next queries all instances again.
func (s *Source) Next(ctx context.Context) ([]string, error) {
	if s.addrs != nil {
		if err := s.follow(ctx); err == nil {
			return s.list(), nil
		}
		s.reset()
	}
	if err := s.get(ctx); err != nil {
		return nil, fmt.Errorf("etcd: %w", err)
	}
	return s.list(), nil
}

func (s *Source) list() []string {
	addrs := make([]string, 0, len(s.addrs))
	for _, addr := range s.addrs {
		addrs = append(addrs, addr)
	}
	return addrs
}

func (s *Source) get(ctx context.Context) error {
	in := map[string]any{"key": encode(s.folder), "range_end": encode(after(s.folder))}
	var response struct {
		Header header
		KVs    []pair
	}
	if err := s.cluster.call(ctx, "/v3/kv/range", in, &response); err != nil {
		return err
	}
	s.addrs, s.revision = make(map[string]string, len(response.KVs)), response.Header.Revision
	for _, kv := range response.KVs {
		s.put(kv)
	}
	return nil
}

// put adds the address in kv to s.addrs. If kv is unreadable, it adds a string that
// discovery.Follow skips and reports.
func (s *Source) put(kv pair) {
	var value struct { // encoding/json takes Addr for addr too
		Addr string `json:"addr"`
	}
	key := string(kv.Key)
	if err := json.Unmarshal(kv.Value, &value); err != nil || value.Addr == "" {
		value.Addr = fmt.Sprintf("key %s: want {\"Addr\":\"host:port\"}", key)
	}
	s.addrs[key] = value.Addr
}

// maxEntries is the maximum number of entries of a service after a watch has applied a message. If
// there are more, the watch ends with an error.
const maxEntries = 100_000

// message is one message of a watch response.
type message struct {
	Result struct {
		Header          header
		Events          []event
		Canceled        bool
		CancelReason    string `json:"cancel_reason"`
		CompactRevision int64  `json:"compact_revision,string"`
	}
	Error *struct{ Message string }
}

type event struct {
	Type string // "" for PUT
	KV   pair
}

// follow waits for one message with events and applies them.
func (s *Source) follow(ctx context.Context) error {
	if s.watch == nil {
		if err := s.open(ctx); err != nil {
			return err
		}
	}
	for {
		var m message
		if err := s.watch.Next(ctx, &m); err != nil {
			if ctx.Err() == nil && !errors.Is(err, context.DeadlineExceeded) {
				s.cluster.next() // the watch was ended by this member
			}
			return err
		}
		if m.Error != nil || m.Result.Canceled || m.Result.CompactRevision > 0 {
			return errors.New("etcd ended the watch")
		}
		if len(m.Result.Events) > 0 {
			s.apply(m.Result.Events)
			if len(s.addrs) > maxEntries {
				return fmt.Errorf("the service has more than %d entries", maxEntries)
			}
			return nil
		}
	}
}

func (s *Source) apply(events []event) {
	for _, e := range events {
		if e.Type == "DELETE" {
			delete(s.addrs, string(e.KV.Key))
		} else {
			s.put(e.KV)
		}
	}
}

// open begins a watch. The watch ends when its member loses the leader of the cluster, and after
// Config.Refresh at the latest.
func (s *Source) open(ctx context.Context) error {
	s.pace.Wait(ctx)
	in := map[string]any{"create_request": map[string]any{
		"key": encode(s.folder), "range_end": encode(after(s.folder)), "start_revision": strconv.FormatInt(s.revision+1, 10),
	}}
	err := s.cluster.authorized(ctx, func() (err error) {
		r := s.cluster.request("/v3/watch", in, nil)
		r.Header.Set("Grpc-Metadata-Hasleader", "true")
		r.Within = s.cluster.Refresh*3/4 + rand.N(s.cluster.Refresh/4+1)
		s.watch, err = s.cluster.client.Stream(ctx, r)
		return err
	})
	if err != nil && elsewhere(err) && ctx.Err() == nil {
		s.cluster.next()
	}
	return err
}
