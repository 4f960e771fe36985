package ratelimit

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"
)

// Key names whose calls are counted. Keys are comparable and of fixed size
// whatever they were made from. The zero Key is a key like any other.
type Key struct {
	kind, value uint64
}

const (
	kindIPv4 uint64 = iota + 1
	kindIPv6
	kindString
)

// stringSeed is set once for the process: equal strings give equal keys in all limiters.
var stringSeed = maphash.MakeSeed()

// AddrKey returns the key of a client address. An IPv4 address stands for
// itself, also when mapped into IPv6 (RFC 4291, section 2.5.5.2). Any other IPv6
// address stands for its /64, the least a network hands to one customer (RFC
// 6177); its zone is ignored. All invalid addresses share one key.
func AddrKey(addr netip.Addr) Key {
	addr = addr.Unmap()
	switch {
	case addr.Is4():
		ip := addr.As4()
		return Key{kindIPv4, uint64(binary.BigEndian.Uint32(ip[:]))}
	case addr.Is6():
		ip := addr.As16()
		return Key{kindIPv6, binary.BigEndian.Uint64(ip[:8])}
	}
	return Key{}
}

// StringKey returns the key of a principal or any other name, of any length. It
// is a hash whose seed is chosen at process start: nobody outside can find two
// names with one key, and it means nothing to another process.
func StringKey(name string) Key {
	return Key{kindString, maphash.String(stringSeed, name)}
}
