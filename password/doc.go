// Package password hashes and verifies passwords with Argon2id (RFC 9106) and rejects
// weak passwords.
//
// # Text
//
// A password is Unicode text. [Hash], [Verify] and [Policy.Check] all call [Normalize], which
// applies NFKC, as NIST SP 800-63B section 5.1.1.2 advises, and changes nothing else: it removes
// no spaces and preserves case. Different encodings of the same characters (é as one code point
// or two, full-width digits) are therefore the same password.
//
// # Memory
//
// A hash with [DefaultParams] fills 19 MiB and takes about 20 ms of one core. The
// memory is garbage afterwards and stays allocated until the garbage collector next
// runs. The package limits neither the memory nor the number of concurrent calls; the
// caller must limit both. These values were measured with two workers that hash
// continuously beside a live heap of 10 MB, on two cores:
//
//	no measure                    peak 118-130 MiB resident, 100 % of the hashes/s
//	runtime.GC after every hash   peak 42-60 MiB, 100 %
//	debug.SetMemoryLimit(80 MiB)  peak 80-83 MiB, about 70 %
//	debug.SetMemoryLimit(64 MiB)  peak 61-65 MiB, about 60 %
//
// A worker that calls runtime.GC after each hash therefore stays near its 19 MiB, as long as the
// live heap is small in comparison: the cost of a collection is proportional to the live heap. A
// memory limit makes the runtime return pages to the operating system and fault them in again.
//
// # Common passwords
//
// [Policy.Check] refuses the words of a list that was written for this package, and passwords
// that are derived from them by rules: changes of case, digits and signs around a word, letters
// replaced by look-alikes. It also refuses repetitions, sequences, keyboard walks and short
// numbers. The list is not a list of leaked passwords. If such a list is required (OWASP ASVS 6.2.4
// requires the 3000 most common passwords), load it with [ParseBlocklist].
package password
