package ratelimit

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
)

// Key identifies the client, principal or other party whose calls are counted. Keys are
// comparable and have a fixed size. The zero Key is a valid key.
type Key struct {
	kind, value uint64
}

const (
	kindIPv4 uint64 = iota + 1
	kindIPv6
)

// kindString is the bit of kind that marks the keys of StringKey. Their other bits of kind are bits
// of the digest.
const kindString uint64 = 1 << 63

// AddrKey returns the key of a client address. Each IPv4 address has its own key, even if it
// is mapped into IPv6 (RFC 4291, section 2.5.5.2). Other IPv6 addresses share the key of their
// /64, the smallest block that a network assigns to a customer (RFC 6177); the zone is
// ignored. All invalid addresses share one key.
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

// StringKey returns the key of a principal or any other name, of any length. The
// key contains 127 bits of the name's SHA-256 digest, so that it is the same on all
// nodes and collisions are infeasible.
func StringKey(name string) Key {
	digest := sha256.Sum256([]byte(name))
	return Key{kindString | binary.BigEndian.Uint64(digest[:8]), binary.BigEndian.Uint64(digest[8:16])}
}

// String returns the key as 32 hexadecimal digits.
func (k Key) String() string {
	var raw [16]byte
	binary.BigEndian.PutUint64(raw[:8], k.kind)
	binary.BigEndian.PutUint64(raw[8:], k.value)
	return hex.EncodeToString(raw[:])
}
