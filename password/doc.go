// Package password hashes and verifies passwords with Argon2id (RFC 9106) and
// rejects weak passwords.
//
// # Text
//
// A password is Unicode text. [Hash], [Verify] and [Policy.Check] all call
// [Normalize], which applies NFKC, as NIST SP 800-63B section 5.1.1.2 advises, and
// nothing else: it trims nothing and changes no case. Different encodings of the same
// keys (é as one code point or two, full-width digits) are therefore one password.
//
// # Memory
//
// A hash with [DefaultParams] fills 19 MiB and takes about 20 ms of one core. The memory is
// garbage afterwards and stays allocated until the garbage collector next runs. The package
// limits neither this nor the number of concurrent calls; the caller must limit both. These
// values were measured with two workers that hash back to back beside a live heap of 10 MB, on
// two cores:
//
//	nothing done                  peak 118-130 MiB resident, 100 % of the hashes/s
//	runtime.GC after every hash   peak 42-60 MiB, 100 %
//	debug.SetMemoryLimit(80 MiB)  peak 80-83 MiB, about 70 %
//	debug.SetMemoryLimit(64 MiB)  peak 61-65 MiB, about 60 %
//
// So a worker that calls runtime.GC after each hash stays near its 19 MiB, as long as the live heap
// is small in comparison: the cost of a collection is proportional to the live heap. A memory limit
// makes the runtime return pages to the operating system and fault them in again.
//
// # Common passwords
//
// The words that [Policy.Check] refuses were written for this package, and
// rules derive the rest from them: other cases, digits and signs around a
// word, letters replaced by look-alikes, repetitions, sequences, keyboard
// walks. They are not a list of leaked passwords. If such a list is required
// (OWASP ASVS 6.2.4 requires the 3000 most common passwords), load it with
// [ParseBlocklist].
package password
