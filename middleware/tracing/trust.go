package tracing

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/chassi-go/chassi"
)

// Trust reports whether the trace context of a call may become the parent of the call's span and
// decide whether that span is sampled.
type Trust func(*chassi.Call) bool

// TrustNetworks returns a [Trust] that accepts calls within the process, events and jobs, calls
// whose peer is in one of the networks, and calls over a broker that a client with a name makes on
// its own behalf. The peer is the client behind trusted proxies ([chassi.Call].Peer).
func TrustNetworks(networks ...netip.Prefix) Trust {
	networks = slices.Clone(networks)
	return func(call *chassi.Call) bool {
		return isLocal(call) || inNetworks(call, networks) || isNamed(call)
	}
}

// isLocal reports whether the call came from this process or, as an event or a job,
// from a program that uses the same database. The metadata of such a call was set by
// the calling program itself.
func isLocal(call *chassi.Call) bool {
	return call.Binding != nil && (call.Transport == "local" || call.Transport == "event" || call.Transport == "job")
}

// inNetworks reports whether the peer has an address in one of the networks.
func inNetworks(call *chassi.Call, networks []netip.Prefix) bool {
	if !call.Peer.IsValid() {
		return false
	}
	peer := call.Peer.Addr().Unmap().WithZone("")
	for _, n := range networks {
		if n.Contains(peer) {
			return true
		}
	}
	return false
}

// isNamed reports whether the call came over a broker from a client with a verified
// name, and not on behalf of another client.
func isNamed(call *chassi.Call) bool {
	return !call.Peer.IsValid() && call.PeerName != "" && !strings.HasSuffix(call.PeerName, ":")
}
