package ratelimit

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
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
)

// kindString marks keys of names; the bits below are part of the digest.
const kindString uint64 = 1 << 63

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

// StringKey returns the key of a principal or any other name, of any length. It is
// made of 127 bits of the name's SHA-256, so that it is the same on all nodes, and nobody
// finds two names with one key.
func StringKey(name string) Key {
	digest := sha256.Sum256([]byte(name))
	return Key{kindString | binary.BigEndian.Uint64(digest[:8]), binary.BigEndian.Uint64(digest[8:16])}
}

// String returns the key in 32 hexadecimal digits.
func (k Key) String() string {
	var raw [16]byte
	binary.BigEndian.PutUint64(raw[:8], k.kind)
	binary.BigEndian.PutUint64(raw[8:], k.value)
	return hex.EncodeToString(raw[:])
}
