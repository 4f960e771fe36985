package service

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

// NormalizeEmail returns the normal form of an e-mail address, by which accounts are stored and
// failed logins are counted, and reports whether the address is valid. An address of more than 1024
// bytes is invalid. The rules are:
//
//   - leading and trailing spaces are removed;
//   - the local part must be an RFC 5321 dot-string in ASCII of at most 64
//     characters, and is converted to lower case. Quoted strings are rejected, and so are
//     other alphabets, because a Kelvin sign would be converted to a k;
//   - the domain must be a host name. Its trailing dot is removed, its Unicode form is
//     converted to Punycode (IDNA 2008, RFC 5891), and it is converted to lower case. IP
//     addresses and address literals are rejected, and so are characters that IDNA maps to others,
//     such as full-width letters;
//   - the normal form has at most 254 characters.
//
// Two spellings have the same normal form only if mail to both reaches the same domain and, on
// every server that ignores case, the same mailbox.
func NormalizeEmail(address string) (normal string, ok bool) {
	if len(address) > maxEmailInput {
		return "", false
	}
	address = strings.Trim(address, " ")
	at := strings.LastIndexByte(address, '@')
	if at < 1 || !isDotString(address[:at]) {
		return "", false
	}
	domain, ok := normalDomain(strings.TrimSuffix(address[at+1:], "."))
	normal = strings.ToLower(address[:at]) + "@" + domain
	return normal, ok && len(normal) <= 254
}

// lookup is the IDNA profile for domains. It has the rules of [idna.Lookup], but permits hyphens in
// the third and fourth positions of a label, as in r3---sn-apo3qvuoxuxbt-j5pe.googlevideo.com: RFC
// 5891, section 4.2.3.1, reserves such labels, but DNS contains older names with them. The prefix
// xn-- is permitted only before Punycode. isHostName rejects hyphens at the ends of a label.
var lookup = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.CheckHyphens(false), idna.CheckJoiners(true), idna.StrictDomainName(true))

// normalDomain returns the normal form of a domain, in ASCII. It reports false for an invalid
// domain and for a domain in which IDNA would change more than the case and the composition of
// letters.
func normalDomain(domain string) (ascii string, ok bool) {
	domain = norm.NFC.String(domain)
	ascii, err := lookup.ToASCII(domain)
	if err != nil || !isHostName(ascii) {
		return "", false
	}
	ascii = strings.ToLower(ascii)
	if countWide(domain) == 0 {
		return ascii, true
	}
	unicode, err := lookup.ToUnicode(ascii)
	return ascii, err == nil && strings.ToLower(domain) == unicode && countWide(domain) == countWide(unicode)
}

// countWide returns the number of characters of s that are not ASCII.
func countWide(s string) (n int) {
	for _, r := range s {
		if r >= utf8.RuneSelf {
			n++
		}
	}
	return n
}

const maxEmailInput = 1024

// atextSpecials contains the characters of atext (RFC 5322, section 3.2.3) other than letters and
// digits.
const atextSpecials = "!#$%&'*+-/=?^_`{|}~"

func isDotString(local string) bool {
	if len(local) > 64 {
		return false
	}
	for atom := range strings.SplitSeq(local, ".") {
		if atom == "" || strings.ContainsFunc(atom, func(r rune) bool { return !isAlnum(r) && !strings.ContainsRune(atextSpecials, r) }) {
			return false
		}
	}
	return true
}

func isHostName(domain string) bool {
	labels := strings.Split(domain, ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.ContainsFunc(label, func(r rune) bool { return !isAlnum(r) && r != '-' }) {
			return false
		}
	}
	last := labels[len(labels)-1]
	return strings.Trim(last, "0123456789") != "" // an IPv4 address is not a domain
}

func isAlnum(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
}
