package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"strconv"
	"time"

	"github.com/chassi-go/chassi/discovery/internal/api"
)

// Source returns the ready pods of a service. It is a discovery.Source.
type Source struct {
	config Config
	client *api.Client
	url    string
	query  url.Values
	port   string

	slices  map[string]slice // by name; nil when they are to be listed
	version string           // resource version of slices
	watch   *api.Stream      // of the changes after version; nil for none
	pace    api.Pace
}

// Close ends the watch and frees the connections.
func (s *Source) Close() error {
	s.watch.Close()
	s.slices, s.watch = nil, nil
	s.client.Close()
	return nil
}

// Next returns the addresses of the pods. The first call lists the slices, and later calls watch
// for changes. A watch that ends is resumed; after 410 Gone or another error, all slices are listed
// again.
func (s *Source) Next(ctx context.Context) ([]string, error) {
	if s.slices != nil {
		err := s.follow(ctx)
		if err == nil {
			return s.addrsOrRestart()
		}
		s.endWatch()
	}
	if err := s.list(ctx); err != nil {
		return nil, fmt.Errorf("kubernetes: %w", err)
	}
	return s.addrsOrRestart()
}

// addrsOrRestart returns the addresses. After an error it ends the watch, so that the next call of
// Next lists the slices again.
func (s *Source) addrsOrRestart() ([]string, error) {
	addrs, err := s.addrs()
	if err != nil {
		s.endWatch()
		s.slices = nil
	}
	return addrs, err
}

func (s *Source) endWatch() {
	s.watch.Close()
	s.watch = nil
}

// addrs returns the addresses of one family, because a pod of a dual-stack service has an address
// of each: IPv4 if there is any, else IPv6, else FQDN. For each malformed slice it adds a text,
// which discovery.Follow skips and reports.
func (s *Source) addrs() ([]string, error) {
	families := make(map[string][]string)
	var malformed []string
	for _, slice := range s.slices {
		addrs, err := slice.addrs(s.port)
		if err != nil {
			return nil, fmt.Errorf("kubernetes: %w", err)
		}
		if slice.malformed != nil {
			malformed = append(malformed, fmt.Sprintf("slice %s: %v", slice.Metadata.Name, slice.malformed)) // discovery.Follow skips and names it
			continue
		}
		families[slice.AddressType] = append(families[slice.AddressType], addrs...)
	}
	for _, family := range []string{"IPv4", "IPv6", "FQDN"} {
		if len(families[family]) > 0 {
			return append(families[family], malformed...), nil
		}
	}
	return malformed, nil
}

// maxSlices is the number of slices above which a watch adds no more. By default a slice of
// Kubernetes has at most 100 endpoints.
const maxSlices = 10_000

func (s *Source) list(ctx context.Context) error {
	s.slices = nil
	var response struct {
		Metadata struct{ ResourceVersion string }
		Items    []json.RawMessage
	}
	r, err := s.request(s.query, &response)
	if err != nil {
		return err
	}
	if _, err := s.client.Do(ctx, r); err != nil {
		return err
	}
	s.slices, s.version = make(map[string]slice, len(response.Items)), response.Metadata.ResourceVersion
	for i, raw := range response.Items {
		item := readSlice(raw)
		if item.Metadata.Name == "" {
			item.Metadata.Name = "item " + strconv.Itoa(i)
		}
		s.slices[item.Metadata.Name] = item
	}
	return nil
}

// readSlice returns the slice in raw. If raw is unreadable, the slice has no endpoints, and
// malformed is the error.
func readSlice(raw json.RawMessage) (item slice) {
	if err := json.Unmarshal(raw, &item); err != nil { //nolint:musttag // camelCase names match without tags
		item.Endpoints, item.malformed = nil, err
	}
	return item
}

// event is a line of a watch.
type event struct {
	Type   string
	Object json.RawMessage
}

// follow waits for one event that changes the slices.
func (s *Source) follow(ctx context.Context) error {
	for {
		if s.watch == nil {
			if err := s.open(ctx); err != nil {
				return err
			}
		}
		var e event
		err := s.watch.Next(ctx, &e)
		if errors.Is(err, api.ErrEnd) { // as asked for, by timeoutSeconds
			s.endWatch()
			continue
		}
		if err != nil {
			return err
		}
		if changed, err := s.apply(e); err != nil || changed {
			return err
		}
	}
}

// apply applies an event of the watch. It reports whether the event changed the slices, which a
// bookmark does not.
func (s *Source) apply(e event) (changed bool, err error) {
	if e.Type == "ERROR" {
		return false, errors.New("the watch failed") // a Status; 410 when the version is too old
	}
	object := readSlice(e.Object)
	if object.Metadata.ResourceVersion == "" {
		return false, errors.New("an event without a version")
	}
	s.version = object.Metadata.ResourceVersion
	switch e.Type {
	case "ADDED", "MODIFIED":
		if len(s.slices) > maxSlices {
			return false, fmt.Errorf("there are more than %d slices", maxSlices)
		}
		s.slices[object.Metadata.Name] = object
	case "DELETED":
		delete(s.slices, object.Metadata.Name)
	default:
		return false, nil // BOOKMARK
	}
	return true, nil
}

func (s *Source) open(ctx context.Context) error {
	s.pace.Wait(ctx)
	refresh := s.config.Refresh*3/4 + rand.N(s.config.Refresh/4+1)
	query := maps.Clone(s.query)
	query.Set("watch", "1")
	query.Set("allowWatchBookmarks", "true")
	query.Set("resourceVersion", s.version)
	query.Set("timeoutSeconds", strconv.Itoa(int((refresh+time.Second-1)/time.Second)))
	r, err := s.request(query, nil)
	if err != nil {
		return err
	}
	r.Within = refresh + s.config.Timeout + time.Second
	s.watch, err = s.client.Stream(ctx, r)
	return err
}
