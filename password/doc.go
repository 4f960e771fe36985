// Package password stores and checks passwords with Argon2id (RFC 9106) and
// says which passwords are too weak to be taken.
//
// # Text
//
// A password is Unicode text. [Hash], [Verify] and [Policy.Check] all pass it
// through [Normalize], so it cannot be forgotten on one of the ways in: NFKC,
// as NIST SP 800-63B section 5.1.1.2 advises, and nothing else. Nothing is
// trimmed, no case is changed. What a keyboard or an operating system makes of
// the same keys (é as one code point or two, full-width digits) is one
// password.
//
// # Memory
//
// A hash with [DefaultParams] fills 19 MiB and takes about 20 ms of one core.
// The memory is garbage afterwards, and the collector lets it stand until it
// next runs. The package bounds neither this nor the number of concurrent
// calls: both are for the caller, who knows what else the process does. Two
// workers that hash back to back beside a live heap of 10 MB, on two cores:
//
//	nothing done                  peak 118-130 MiB resident, 100 % of the hashes/s
//	runtime.GC after every hash   peak 42-60 MiB, 100 %
//	debug.SetMemoryLimit(80 MiB)  peak 80-83 MiB, about 70 %
//	debug.SetMemoryLimit(64 MiB)  peak 61-65 MiB, about 60 %
//
// So a worker that calls runtime.GC after each hash stays near its 19 MiB, as
// long as the live heap is small beside that: a collection costs in proportion
// to it. A memory limit makes the runtime give pages back and fault them in
// again.
//
// # Common passwords
//
// The words that [Policy.Check] refuses were written for this package, and
// rules derive the rest from them: other cases, digits and signs around a
// word, letters replaced by look-alikes, repetitions, sequences, keyboard
// walks. They are not a list of leaked passwords. Who needs one by the letter
// (OWASP ASVS 6.2.4 asks for the 3000 most common) gives it to
// [ParseBlocklist].
package password
