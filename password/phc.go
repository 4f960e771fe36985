package password

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
)

var (
	// ErrMalformed means that a stored hash is not a valid PHC string.
	ErrMalformed = errors.New("password: stored hash is malformed")
	// ErrUnsupported means that a stored hash has an unsupported algorithm or version,
	// or parameters out of bounds.
	ErrUnsupported = errors.New("password: stored hash is not supported")
)

const (
	phcPrefix  = "$argon2id$"
	phcVersion = "v=19" // argon2.Version
	maxEncoded = 256    // bytes; the longest valid hash has 207
)

// This declaration fails to compile if package argon2 changes to another version of Argon2.
var _ [0]struct{} = [argon2.Version - 19]struct{}{}

// digest is a stored hash in the PHC string format, $argon2id$v=19$m=M,t=T,p=P$SALT$KEY, where SALT
// and KEY are in base64 without padding.
type digest struct {
	params Params
	salt   []byte
	key    []byte
}

func (d digest) String() string {
	p, b64 := d.params, base64.RawStdEncoding
	return fmt.Sprintf("%s%s$m=%d,t=%d,p=%d$%s$%s", phcPrefix, phcVersion,
		p.Memory, p.Time, p.Parallelism, b64.EncodeToString(d.salt), b64.EncodeToString(d.key))
}

// parse parses an encoded hash with parameters within the bounds. It accepts only the output of
// String, without leading zeros, stray bits or line breaks. For any other string it returns an
// error that wraps [ErrMalformed] or [ErrUnsupported].
func parse(encoded string) (digest, error) {
	if len(encoded) > maxEncoded || !strings.HasPrefix(encoded, "$") {
		return digest{}, ErrMalformed
	}
	rest, ours := strings.CutPrefix(encoded, phcPrefix)
	if !ours {
		return digest{}, fmt.Errorf("%w: not argon2id", ErrUnsupported)
	}
	fields := strings.Split(rest, "$")
	if fields[0] != phcVersion {
		return digest{}, fmt.Errorf("%w: not version 19", ErrUnsupported)
	}
	if len(fields) != 4 {
		return digest{}, ErrMalformed
	}
	d, err := parseFields(fields[1], fields[2], fields[3])
	if err != nil || d.String() != encoded {
		return digest{}, ErrMalformed
	}
	if err := d.params.check(); err != nil {
		return digest{}, fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	return d, nil
}

func parseFields(costs, salt, key string) (d digest, err error) {
	m, costs, _ := strings.Cut(costs, ",")
	t, p, _ := strings.Cut(costs, ",")
	memory, errM := parseCost(m, "m=", 32)
	passes, errT := parseCost(t, "t=", 32)
	lanes, errP := parseCost(p, "p=", 8)
	var errSalt, errKey error
	d.salt, errSalt = base64.RawStdEncoding.DecodeString(salt)
	d.key, errKey = base64.RawStdEncoding.DecodeString(key)
	d.params = Params{
		Memory: uint32(memory), Time: uint32(passes), Parallelism: uint8(lanes),
		SaltLen: uint32(len(d.salt)), KeyLen: uint32(len(d.key)),
	}
	return d, errors.Join(errM, errT, errP, errSalt, errKey)
}

func parseCost(text, prefix string, bits int) (uint64, error) {
	digits, ok := strings.CutPrefix(text, prefix)
	if !ok {
		return 0, ErrMalformed
	}
	return strconv.ParseUint(digits, 10, bits)
}
