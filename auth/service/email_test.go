package service_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/chassi-go/chassi/auth/service"
)

// longest has 254 characters.
var longest = "ab@" + strings.Repeat("abcdefg.", 31) + "org"

func TestNormalizeEmail(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"ada@example.org":                        "ada@example.org",
		"Ada@EXAMPLE.org.":                       "ada@example.org",
		"ada+tag@example.org":                    "ada+tag@example.org",
		"a.b@sub.example.org":                    "a.b@sub.example.org",
		"ada@bücher.example":                     "ada@xn--bcher-kva.example",
		"ada@BÜCHER.example":                     "ada@xn--bcher-kva.example",
		"ada@xn--bcher-kva.example":              "ada@xn--bcher-kva.example",
		"o'hara@example.org":                     "o'hara@example.org",
		"ada@r3---sn-4g5e.example.org":           "ada@r3---sn-4g5e.example.org",
		"ada@ab--cd.example.org":                 "ada@ab--cd.example.org",
		"ada@AB--CD.bücher.example":              "ada@ab--cd.xn--bcher-kva.example",
		"ada@a--b.example":                       "ada@a--b.example",
		strings.Repeat("a", 64) + "@example.org": strings.Repeat("a", 64) + "@example.org",

		"AZaz09!~@AZaz09.org":                         "azaz09!~@azaz09.org",
		"a@" + strings.Repeat("a", 63) + ".org":       "a@" + strings.Repeat("a", 63) + ".org",
		"a@" + strings.Repeat("abcdefg.", 31) + "org": "a@" + strings.Repeat("abcdefg.", 31) + "org",
		longest: longest,
	} {
		for _, spelling := range []string{address, " " + address + "  ", address + strings.Repeat(" ", 1024-len(address))} {
			if got, ok := service.NormalizeEmail(spelling); got != want || !ok {
				t.Errorf("%q: %q %v, want %q", spelling, got, ok, want)
			}
		}
	}
}

// T25: look-alikes of ada@example.org and kelvin@example.org are other addresses
// or none.
func TestT25LookAlikes(t *testing.T) {
	t.Parallel()
	for _, address := range []string{
		"\u212Aelvin@example.org",   // KELVIN SIGN
		"ada@example.or\u212A",      // in the domain
		"ad\u0430@example.org",      // Cyrillic a
		"ada\uFF20example.org",      // full-width @
		"\uFF41da@example.org",      // full-width a
		"a\u200Dda@example.org",     // zero-width joiner
		"ada@exam\u200Dple.org",     //
		"ada@ex\u0430mple.org",      // Cyrillic in the domain
		"ada\u00AD@example.org",     // soft hyphen
		"ad\u0131@example.org",      // dotless i
		"ada@example.org\u3002",     // ideographic full stop
		"ada@example\uFF0Eorg",      // full-width full stop
		"ada@xn--example-.org",      // punycode of nothing
		"ada@xn--exmple-4nf.org",    // Cyrillic again
		"ada@example.org@evil.test", // two @
	} {
		if got, ok := service.NormalizeEmail(address); ok && (got == "ada@example.org" || got == "kelvin@example.org") {
			t.Errorf("%q is taken for %q", address, got)
		}
	}
}

// T26: addresses that a mail server would not accept are rejected.
func TestT26NoAddresses(t *testing.T) {
	t.Parallel()
	for _, address := range []string{
		"", "@", "ada", "ada@", "@example.org", "a b@example.org", `"a b"@example.org`, "ada@[192.0.2.1]", "ada@192.0.2.1",
		"ada@example.org\r\nBcc: eve@example.org", "ada\n@example.org", "ada@exa\x00mple.org", "\x1b[31mada@example.org",
		"ada@xn--a.example", "ada@xn--.example", "ada@xn---.example", "ada@ab--.example",
		".ada@example.org", "ada.@example.org", "a..b@example.org", "ada@-example.org", "ada@example-.org", "ada@example..org", "ada@.org",
		"ada@exam_ple.org", "ada(comment)@example.org", "ada@example.org,eve@example.org", "<ada@example.org>", "ada@example.org>",
		strings.Repeat("a", 65) + "@example.org", "ada@" + strings.Repeat("a", 64) + ".org",
		"a" + longest, strings.Repeat(" ", 1025-len("ada@example.org")) + "ada@example.org",
		"ada@" + strings.Repeat("abcdefgh.", 30) + "org", strings.Repeat("a", 10<<10) + "@example.org", "\u2028ada@example.org", "\xffada@example.org",
	} {
		if got, ok := service.NormalizeEmail(address); ok {
			t.Errorf("%.60q is taken for %q", address, got)
		}
	}
}

func FuzzNormalizeEmail(f *testing.F) {
	for _, seed := range []string{"Ada@Example.org", "a@b", " a@bücher.example. ", "\u212A@x.org", "a@xn--bcher-kva.example", "a@[1.2.3.4]", "a\r\n@b.c", "a@ab--cd.example", "a@ab--\u00fc.example", "a@xn--zca.example"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, address string) {
		normal, ok := service.NormalizeEmail(address)
		if !ok {
			return
		}
		if again, ok := service.NormalizeEmail(normal); !ok || again != normal {
			t.Errorf("%q: %q, and then %q %v", address, normal, again, ok)
		}
		for i := range len(normal) {
			if c := normal[i]; c <= ' ' || c >= utf8.RuneSelf || c >= 'A' && c <= 'Z' {
				t.Errorf("%q: %q has byte %#x", address, normal, c)
			}
		}
		if len(normal) > 254 || strings.Count(normal, "@") != 1 {
			t.Errorf("%q: %q", address, normal)
		}
		// The local part is the one given but for ASCII case: nothing was folded into it.
		local, _, _ := strings.Cut(normal, "@")
		if given := strings.Trim(address, " "); !strings.EqualFold(given[:len(local)], local) || strings.ContainsFunc(given[:len(local)], func(r rune) bool { return r >= utf8.RuneSelf }) {
			t.Errorf("%q: local part %q", address, local)
		}
	})
}
