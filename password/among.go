package password

import "crypto/subtle"

// ParamsOf returns the parameters of an encoded hash. It returns the errors of [Verify].
func ParamsOf(encoded string) (Params, error) {
	d, err := parse(encoded)
	return d.params, err
}

// SameCost reports whether hashes under p and q take the same work. It ignores the lengths of
// salt and hash.
func (p Params) SameCost(q Params) bool {
	return p.Memory == q.Memory && p.Time == q.Time && p.Parallelism == q.Parallelism
}

// VerifyAmong is [Verify] for stored hashes of several costs, in the same time for each. It
// computes one hash for each of costs, in order, whatever the cost of encoded; the result is
// that of encoded's cost. Invalid text takes the same work. Only a hash whose cost is not in
// costs takes longer: add its parameters first. The time is the sum of costs, the memory the
// maximum.
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
