package service

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

// NormalizeEmail returns the one form under which an address is stored, looked
// up and counted, and whether it is an address at all:
//
//   - spaces around it are dropped;
//   - the part before the @ is an RFC 5321 dot-string in ASCII, at most 64
//     characters, and becomes lower case. Quoted strings and other alphabets are
//     refused: there a Kelvin sign would become a k;
//   - the domain is a host name, its trailing dot dropped, its Unicode form turned
//     into punycode (IDNA 2008, RFC 5891), in lower case. Address literals are refused,
//     and so are letters that look like others to IDNA, such as full-width ones;
//   - the whole is at most 254 characters.
//
// So two spellings meet only if mail to both reaches the same domain and the
// same mailbox on every server that ignores case.
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

// normalDomain refuses what IDNA would fold together beyond case and the composed
// form of letters.
func normalDomain(domain string) (ascii string, ok bool) {
	domain = norm.NFC.String(domain)
	ascii, err := idna.Lookup.ToASCII(domain)
	if err != nil || !isHostName(ascii) {
		return "", false
	}
	ascii = strings.ToLower(ascii)
	if countWide(domain) == 0 {
		return ascii, true
	}
	unicode, err := idna.Lookup.ToUnicode(ascii)
	return ascii, err == nil && strings.ToLower(domain) == unicode && countWide(domain) == countWide(unicode)
}

// countWide counts what is not ASCII.
func countWide(s string) (n int) {
	for _, r := range s {
		if r >= utf8.RuneSelf {
			n++
		}
	}
	return n
}

const maxEmailInput = 1024

// atext of RFC 5322, section 3.2.3, without letters and digits.
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
	if len(domain) == 0 || len(domain) > 253 {
		return false
	}
	labels := strings.Split(domain, ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.ContainsFunc(label, func(r rune) bool { return !isAlnum(r) && r != '-' }) {
			return false
		}
	}
	last := labels[len(labels)-1]
	return strings.Trim(last, "0123456789") != "" // an IPv4 address is no domain
}

func isAlnum(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
}
