package password

import "crypto/subtle"

// ParamsOf returns the parameters that encoded was made under. The errors are
// those of [Verify].
func ParamsOf(encoded string) (Params, error) {
	d, err := parse(encoded)
	return d.params, err
}

// SameCost reports whether hashes under p and q take the same work: the lengths of
// salt and hash do not matter.
func (p Params) SameCost(q Params) bool {
	return p.Memory == q.Memory && p.Time == q.Time && p.Parallelism == q.Parallelism
}

// VerifyAmong is [Verify] for stored hashes of several costs whose times must not
// differ. It computes one hash under each of costs, in their order, whichever of them
// encoded was made under; the one of encoded's cost decides, the others are for the
// time alone. Text that is refused takes the work of costs all the same. Only a
// hash whose cost is not in costs takes longer, by its own work: add its parameters
// first. The work is the sum of costs, the memory that of the largest.
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

// plan returns the hashes to compute for stored, and which of them decides: -1 for
// none, when stored cannot be used.
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
