package password

import "crypto/subtle"

// ParamsOf returns the parameters of an encoded hash. It returns [ErrMalformed] or [ErrUnsupported]
// for a hash that [Verify] rejects with that error.
func ParamsOf(encoded string) (Params, error) {
	d, err := parse(encoded)
	return d.params, err
}

// SameCost reports whether hashes under p and q take the same work. It ignores the lengths of
// salt and hash.
func (p Params) SameCost(q Params) bool {
	return p.Memory == q.Memory && p.Time == q.Time && p.Parallelism == q.Parallelism
}

// VerifyAmong is like [Verify], but takes the same time for stored hashes of different costs. It
// computes one hash for each of costs, in order, whatever the cost of encoded, and returns the
// result of the hash with the cost of encoded. An invalid encoded text takes the same work. Only a
// hash whose cost is not in costs takes longer: add its parameters to costs first. The time is the
// sum over costs, the memory the maximum.
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

// plan returns the hashes to compute for stored, and the index of the one that decides, or -1 if
// stored cannot be used.
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
