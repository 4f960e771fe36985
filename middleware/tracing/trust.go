package tracing

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/chassi-go/chassi"
)

// Trust reports whether the trace context that came with a call may become the parent
// of its span and decide whether that is sampled.
type Trust func(*chassi.Call) bool

// TrustNetworks trusts calls within the process, calls whose peer is in one of the
// networks, and calls over a broker from a client that the broker knows by name. The
// peer is the client past trusted proxies ([chassi.Call].Peer).
func TrustNetworks(networks ...netip.Prefix) Trust {
	networks = slices.Clone(networks)
	return func(call *chassi.Call) bool {
		return isLocal(call) || inNetworks(call, networks) || isNamed(call)
	}
}

// isLocal reports whether the call came from this process. What stands beside such a call
// was written by the caller's own client, also while it serves somebody else.
func isLocal(call *chassi.Call) bool {
	return call.Binding != nil && call.Transport == "local"
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

// isNamed reports whether the call came over a broker, from a client whose name the
// broker has verified and that forwards for nobody else.
func isNamed(call *chassi.Call) bool {
	return !call.Peer.IsValid() && call.PeerName != "" && !strings.HasSuffix(call.PeerName, ":")
}
