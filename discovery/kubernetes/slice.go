package kubernetes

import (
	"fmt"
	"net"
	"strconv"
)

// slice contains the fields of an EndpointSlice (discovery.k8s.io/v1) that are used.
type slice struct {
	Metadata struct {
		Name            string
		ResourceVersion string
	}
	AddressType string // IPv4, IPv6, FQDN
	Endpoints   []endpoint
	Ports       []port

	malformed error // error of decoding the EndpointSlice, or nil
}

type endpoint struct {
	Addresses  []string
	Conditions struct{ Ready, Serving, Terminating *bool }
}

type port struct {
	Name     *string
	Protocol *string
	Port     *int
}

// isReady reports whether the endpoint is ready. An unknown state counts as ready, as the API
// requires of consumers. Ready alone is not sufficient, because it includes terminating pods of a
// service with publishNotReadyAddresses.
func (e endpoint) isReady() bool {
	c := e.Conditions
	return (c.Ready == nil || *c.Ready) && (c.Serving == nil || *c.Serving) && (c.Terminating == nil || !*c.Terminating)
}

// addrs returns the addresses of the ready endpoints, with the wanted port. It returns no addresses
// if the EndpointSlice lacks the port, because pods of one service may have different ports.
func (s slice) addrs(wanted string) ([]string, error) {
	number, err := s.number(wanted)
	if number == 0 || err != nil {
		return nil, err
	}
	var addrs []string
	for _, e := range s.Endpoints {
		if e.isReady() && len(e.Addresses) > 0 { // several are all of one pod
			addrs = append(addrs, net.JoinHostPort(e.Addresses[0], strconv.Itoa(number)))
		}
	}
	return addrs, nil
}

// number returns the number of the wanted port, or 0 if the EndpointSlice does not have it. It
// returns an error if wanted is "" and the EndpointSlice has several ports, or has endpoints and
// permits all ports. Only TCP ports are considered.
func (s slice) number(wanted string) (int, error) {
	asked, _ := strconv.Atoi(wanted)
	found := 0
	for _, p := range s.Ports {
		if p.Protocol != nil && *p.Protocol != "TCP" {
			continue
		}
		switch {
		case p.Port == nil: // all ports
			if wanted == "" && len(s.Endpoints) > 0 {
				return 0, fmt.Errorf("EndpointSlice %s permits all ports; set the port", s.Metadata.Name)
			}
			found = asked
		case wanted == "" && found != 0:
			return 0, fmt.Errorf("EndpointSlice %s has several ports; set the port", s.Metadata.Name)
		case wanted == "", *p.Port == asked, p.Name != nil && *p.Name == wanted:
			found = *p.Port
		}
	}
	return found, nil
}
