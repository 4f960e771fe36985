// Package ratelimit limits the rate of calls per key, in bounded memory for any number of keys.
//
// # Algorithm
//
// A [Limit] is a token bucket with the semantics of golang.org/x/time/rate: a bucket starts with
// Burst calls and gains Rate calls per second, up to Burst. The implementation is the generic
// cell rate algorithm (GCRA; ITU-T I.371, annex A). It stores one timestamp per key: the time at
// which the bucket is full again. A key whose timestamp has passed needs no memory.
//
// # Memory
//
// A [Limiter] stores up to Options.MaxKeys keys of 16 bytes each: 16 MiB by default and at most
// 64 MiB. It starts at 100 KiB and grows with the number of keys. After it has grown, the old
// table is garbage until the next collection; both together are less than twice the new size.
// The table contains no pointers, so the garbage collector does not scan it. It does not shrink.
//
// # More keys than memory
//
// Each key belongs to one set of 16 slots. If the set of a new key has no free slot and the table
// cannot grow, the new key replaces the key whose bucket is closest to full and inherits that
// bucket: it starts with the remaining calls of that bucket, not with Burst. Therefore
//
//   - a slot whose bucket is full is reused without loss;
//   - an evicted key that returns gets a bucket that is no fuller than its own would be, because
//     the minimum timestamp of a set never decreases;
//   - a blocked key is never evicted: the key that replaced it would be blocked too,
//     and a rejected call changes nothing.
//
// So no number of generated keys permits a call above the limit. New keys of a full table bear
// the cost: they start with fewer calls than Burst, and are rejected if all 16 buckets of their
// set are empty. To achieve that, an attacker must use 16 bursts per set of the table. A single
// bucket for all keys that do not fit would not affect the stored keys, but would reject every
// new key as soon as one burst is used. Keys are assigned to sets by a hash with a secret seed,
// so that an attacker cannot choose the set.
package ratelimit
