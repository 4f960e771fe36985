package password

import "fmt"

// What Argon2id parameters may be, whether they come from a configuration or
// from a stored hash. A hash within these bounds takes at most 256 MiB and
// about as long as one pass over 1 GiB, roughly a second.
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

// Params is the price of a hash (RFC 9106 section 3.1). The zero value is not
// valid, see [DefaultParams]. The tags hold an operator to OWASP's lowest
// figures; [Params.Validate] to those of the RFC, so that tests may be cheap.
type Params struct {
	Memory      uint32 `config:"memory" default:"19456" min:"7168" max:"262144" help:"KiB that one hash fills"`
	Time        uint32 `config:"time" default:"2" min:"1" max:"64" help:"passes over that memory"`
	Parallelism uint8  `config:"parallelism" default:"1" min:"1" max:"16" help:"lanes, each a goroutine, that share that memory"`
	SaltLen     uint32 `config:"salt_len" default:"16" min:"8" max:"64" help:"bytes of salt"`
	KeyLen      uint32 `config:"key_len" default:"32" min:"16" max:"64" help:"bytes of the hash"`
}

// DefaultParams returns what OWASP's Password Storage Cheat Sheet advises:
// 19 MiB, two passes, one lane.
func DefaultParams() Params {
	return Params{Memory: 19456, Time: 2, Parallelism: 1, SaltLen: 16, KeyLen: 32}
}

// Validate reports the first parameter that is out of bounds.
func (p Params) Validate() error {
	lanes := uint64(p.Parallelism)
	work := uint64(p.Memory) * uint64(p.Time)
	switch {
	case lanes < 1 || lanes > maxParallelism:
		return outOfBounds("parallelism", lanes, 1, maxParallelism)
	case uint64(p.Memory) < 8*lanes || p.Memory > maxMemory:
		return outOfBounds("memory", uint64(p.Memory), 8*lanes, maxMemory)
	case p.Time < 1 || p.Time > maxTime:
		return outOfBounds("time", uint64(p.Time), 1, maxTime)
	case work > maxWork:
		return outOfBounds("memory x time", work, 8, maxWork)
	case p.SaltLen < minSaltLen || p.SaltLen > maxSaltLen:
		return outOfBounds("salt length", uint64(p.SaltLen), minSaltLen, maxSaltLen)
	case p.KeyLen < minKeyLen || p.KeyLen > maxKeyLen:
		return outOfBounds("key length", uint64(p.KeyLen), minKeyLen, maxKeyLen)
	}
	return nil
}

func outOfBounds(what string, got, least, most uint64) error {
	return fmt.Errorf("password: argon2id %s is %d, must be %d to %d", what, got, least, most)
}
