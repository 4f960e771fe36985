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

// Source is a discovery.Source of the ready pods of a service.
type Source struct {
	config Config
	client *api.Client
	url    string
	query  url.Values
	port   string

	slices  map[string]slice // the EndpointSlices by name; nil when they are to be listed
	version string           // resource version of slices
	watch   *api.Stream      // of the changes after version; nil for none
	pace    api.Pace
}

// Close ends the watch, closes idle connections and returns nil.
func (s *Source) Close() error {
	s.watch.Close()
	s.slices, s.watch = nil, nil
	s.client.Close()
	return nil
}

// Next returns the addresses of the pods. The first call lists the EndpointSlices, and later calls
// watch for changes. A watch that ends is resumed; after status 410 (Gone) or another error, Next
// lists all EndpointSlices again.
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

// addrsOrRestart returns the results of addrs. If addrs fails, it ends the watch and discards the
// EndpointSlices, so that the next call of Next lists them again.
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

// addrs returns the addresses of the first family that has any: IPv4, IPv6 or FQDN. It returns
// those of one family only, because a pod of a dual-stack service has an address of each. For each
// malformed EndpointSlice it adds a string that discovery.Follow skips and reports.
func (s *Source) addrs() ([]string, error) {
	families := make(map[string][]string)
	var malformed []string
	for _, slice := range s.slices {
		addrs, err := slice.addrs(s.port)
		if err != nil {
			return nil, fmt.Errorf("kubernetes: %w", err)
		}
		if slice.malformed != nil {
			malformed = append(malformed, fmt.Sprintf("EndpointSlice %s: %v", slice.Metadata.Name, slice.malformed)) // discovery.Follow skips and names it
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

// maxSlices is the number of EndpointSlices above which a watch adds no more and ends with an
// error. By default, Kubernetes puts at most 100 endpoints into an EndpointSlice.
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

// readSlice returns the EndpointSlice in raw. If raw is unreadable, the EndpointSlice has no
// endpoints, and its field malformed is the error.
func readSlice(raw json.RawMessage) (item slice) {
	if err := json.Unmarshal(raw, &item); err != nil { //nolint:musttag // camelCase names match without tags
		item.Endpoints, item.malformed = nil, err
	}
	return item
}

// event is one line of the response to a watch.
type event struct {
	Type   string
	Object json.RawMessage
}

// follow waits for one event that changes the EndpointSlices.
func (s *Source) follow(ctx context.Context) error {
	for {
		if s.watch == nil {
			if err := s.open(ctx); err != nil {
				return err
			}
		}
		var e event
		err := s.watch.Next(ctx, &e)
		if errors.Is(err, api.ErrEnd) { // as requested by timeoutSeconds
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

// apply applies an event of the watch. It reports whether the event changed the EndpointSlices,
// which a bookmark does not.
func (s *Source) apply(e event) (changed bool, err error) {
	if e.Type == "ERROR" {
		return false, errors.New("the server ended the watch with an error") // a Status; 410 when the version is too old
	}
	object := readSlice(e.Object)
	if object.Metadata.ResourceVersion == "" {
		return false, errors.New("an event of the watch has no resource version")
	}
	s.version = object.Metadata.ResourceVersion
	switch e.Type {
	case "ADDED", "MODIFIED":
		if len(s.slices) > maxSlices {
			return false, fmt.Errorf("the service has more than %d EndpointSlices", maxSlices)
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
