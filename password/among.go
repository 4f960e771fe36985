package password

import "crypto/subtle"

// ParamsOf returns the parameters of an encoded hash. If encoded is malformed or unsupported, it
// returns an error that wraps [ErrMalformed] or [ErrUnsupported].
func ParamsOf(encoded string) (Params, error) {
	d, err := parse(encoded)
	return d.params, err
}

// SameCost reports whether hashes with p and q require the same work. It ignores the
// lengths of the salt and the hash.
func (p Params) SameCost(q Params) bool {
	return p.Memory == q.Memory && p.Time == q.Time && p.Parallelism == q.Parallelism
}

// VerifyAmong reports whether encoded is a hash of password, in a time that does not depend on the
// cost of encoded. It computes one hash for each of costs, in order, and uses the result of the
// hash that has the cost of encoded. Only an encoded hash whose cost is not in costs takes longer:
// add its parameters to costs first. The time is the sum over costs, and the memory is the maximum.
// Each of costs must be valid ([Params.Validate]).
//
// If encoded is malformed or unsupported, VerifyAmong does the same work and returns an error that
// wraps [ErrMalformed] or [ErrUnsupported]. For an invalid password, it returns an error of
// [Normalize].
func VerifyAmong(costs []Params, encoded, password string) (ok bool, err error) {
	stored, unusable := parse(encoded)
	password, err = Normalize(password)
	if err != nil {
		return false, err
	}
	work, decisive := plan(costs, stored, unusable == nil)
	for i, d := range work {
		if same := subtle.ConstantTimeCompare(d.derive(password), d.key) == 1; i == decisive {
			ok = same
		}
	}
	return ok, unusable
}

// plan returns the hashes to compute for stored, and the index of the hash that decides,
// or -1 if stored is not usable.
func plan(costs []Params, stored digest, usable bool) (work []digest, decisive int) {
	decisive = -1
	for i, c := range costs {
		if usable && decisive < 0 && c.SameCost(stored.params) {
			work, decisive = append(work, stored), i
			continue
		}
		work = append(work, digest{params: c, salt: make([]byte, c.SaltLen), key: make([]byte, c.KeyLen)})
	}
	if usable && decisive < 0 {
		work, decisive = append(work, stored), len(costs)
	}
	return work, decisive
}
