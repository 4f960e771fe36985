package password

import "fmt"

// Bounds of the Argon2id parameters of a configuration or a stored hash. A hash
// within these bounds uses at most 256 MiB and takes no longer than about one pass
// over 1 GiB, roughly a second.
const (
	maxMemory      = 256 << 10 // KiB
	maxTime        = 64
	maxWork        = 1 << 20 // KiB x passes
	maxParallelism = 16
	minSaltLen     = 8
	maxSaltLen     = 64
	minKeyLen      = 16
	maxKeyLen      = 64
)

// Params contains the cost parameters of a hash (RFC 9106 section 3.1). The zero value is
// invalid; start from [DefaultParams]. The config tags require at least 7 MiB, the least memory
// that OWASP recommends, which it combines with five passes; the tags do not check combinations.
// [Params.Validate] requires only the memory and the passes that the RFC requires, so that tests
// can be fast.
type Params struct {
	Memory      uint32 `config:"memory_kib" default:"19456" min:"7168" max:"262144" help:"memory of one hash in KiB"`
	Time        uint32 `config:"time" default:"2" min:"1" max:"64" help:"number of passes over the memory"`
	Parallelism uint8  `config:"parallelism" default:"1" min:"1" max:"16" help:"number of lanes that share the memory, each computed by a goroutine"`
	SaltLen     uint32 `config:"salt_bytes" default:"16" min:"8" max:"64" help:"length of the salt in bytes"`
	KeyLen      uint32 `config:"key_bytes" default:"32" min:"16" max:"64" help:"length of the hash in bytes"`
}

// DefaultParams returns the parameters that the OWASP Password Storage Cheat Sheet recommends:
// 19 MiB, two passes, one lane.
func DefaultParams() Params {
	return Params{Memory: 19456, Time: 2, Parallelism: 1, SaltLen: 16, KeyLen: 32}
}

// Validate returns an error for the first parameter that is out of bounds, or nil if
// all are valid.
func (p Params) Validate() error {
	if err := p.check(); err != nil {
		return fmt.Errorf("password: %w", err)
	}
	return nil
}

// check returns the error of Validate without the name of the package.
func (p Params) check() error {
	lanes := uint64(p.Parallelism)
	work := uint64(p.Memory) * uint64(p.Time)
	switch {
	case lanes < 1 || lanes > maxParallelism:
		return outOfBounds("parallelism", lanes, 1, maxParallelism)
	case uint64(p.Memory) < 8*lanes || p.Memory > maxMemory:
		return outOfBounds("memory in KiB", uint64(p.Memory), 8*lanes, maxMemory)
	case p.Time < 1 || p.Time > maxTime:
		return outOfBounds("time", uint64(p.Time), 1, maxTime)
	case work > maxWork:
		return outOfBounds("memory in KiB x time", work, 8, maxWork)
	case p.SaltLen < minSaltLen || p.SaltLen > maxSaltLen:
		return outOfBounds("salt length", uint64(p.SaltLen), minSaltLen, maxSaltLen)
	case p.KeyLen < minKeyLen || p.KeyLen > maxKeyLen:
		return outOfBounds("key length", uint64(p.KeyLen), minKeyLen, maxKeyLen)
	}
	return nil
}

func outOfBounds(what string, got, lowest, highest uint64) error {
	return fmt.Errorf("argon2id %s is %d, want %d to %d", what, got, lowest, highest)
}
