package discovery

import (
	"slices"

	"github.com/chassi-go/chassi/discovery/internal/addr"
)

// maxAddrs is the maximum number of addresses of one service. A client keeps a connection and a
// circuit breaker for each address.
const maxAddrs = 5000

// maxNamed is the maximum number of unusable entries named in one warning.
const maxNamed = 5

// skipped describes the entries of a response that are not used: unusable entries, and the addresses
// beyond the first maxAddrs.
type skipped struct {
	names []string // the first maxNamed unusable entries, in quotes
	count int      // number of unusable entries
	over  int      // number of addresses beyond maxAddrs
}

func (s skipped) equal(other skipped) bool {
	return s.count == other.count && s.over == other.over && slices.Equal(s.names, other.names)
}

// usable returns the usable addresses in entries, sorted and without duplicates, and a description
// of the skipped entries. Of more than maxAddrs addresses, it returns the first maxAddrs.
func usable(entries []string) (addrs []string, s skipped) {
	var bad []string
	for _, entry := range entries {
		if good, err := addr.Canonical(entry); err == nil {
			addrs = append(addrs, good)
		} else {
			bad = append(bad, addr.Quote(entry))
		}
	}
	slices.Sort(bad)
	s.names, s.count = slices.Clone(bad[:min(len(bad), maxNamed)]), len(bad)
	slices.Sort(addrs)
	addrs = slices.Compact(addrs)
	if len(addrs) > maxAddrs {
		addrs, s.over = slices.Clone(addrs[:maxAddrs]), len(addrs)-maxAddrs
	}
	return addrs, s
}
