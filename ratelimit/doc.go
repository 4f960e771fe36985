// Package ratelimit limits how often each of many keys may act, in memory of a
// fixed size whatever the number of keys.
//
// # Allowance
//
// A [Limit] is a token bucket with the semantics of golang.org/x/time/rate: a
// key starts with Burst calls, and gets Rate more per second up to Burst again.
// It is kept by the generic cell rate algorithm (GCRA; ITU-T I.371, annex A):
// one timestamp per key says when its bucket will be full again, and a key whose
// timestamp has passed needs no memory at all.
//
// # Memory
//
// A [Limiter] remembers up to Options.MaxKeys keys at 16 bytes each: 16 MiB at
// the default, never over 64 MiB. It starts at 100 KiB and grows as live keys
// come; while it grows, the outgrown table is garbage until the next collection,
// so the heap holds less than twice the figure. The table has no pointers: the
// collector does not scan it. It does not shrink.
//
// # More keys than memory
//
// Each key belongs to one set of 16 slots. A key that finds no slot of its own
// takes over the slot of its set whose bucket is nearest to full, and with it
// that bucket: it starts with what the slot had left, not with Burst. So
//
//   - a slot whose bucket is full is reused freely, since nothing is lost;
//   - a key pushed out meets on its return a bucket no fuller than its own would
//     be, since the least timestamp of a set only ever rises;
//   - a blocked key is never pushed out: whoever would take its place would be
//     as blocked, and a refused call changes nothing.
//
// No flood of invented keys therefore wins anyone a call above its limit. The
// price is paid by newcomers of a table full of live keys: a new honest client
// starts with a few calls less than Burst, and is refused only when all 16
// buckets of its set are empty, which costs an attacker 16 full bursts for every
// set of the table. A single bucket shared by all keys that do not fit would
// leave the resident keys untouched, but refuse every new client as soon as one
// burst is spent on it. Keys are placed by a hash with a secret seed, so nobody
// can choose whom to crowd.
package ratelimit
