package safetext_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/chassi-go/chassi/internal/safetext"
)

func TestFileName(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", 200)
	for given, want := range map[string]string{
		"a.txt": "a.txt", "naïve 1.pdf": "naïve 1.pdf", "../../etc/passwd": "passwd", `C:\dir\a.txt`: "a.txt", "..": "", ".": "", "": "", "/": "", "a/": "",
		"a\x00b\nc": "abc", "a<b>:c": "a_b__c", "con": "_con", "NUL.txt": "_NUL.txt", "com1.tar.gz": "_com1.tar.gz", "COM¹": "_COM¹", "common": "common", "com12": "com12",
		"a. . ": "a", " a ": "a", "gpj\u202egnp.exe": "gpjgnp.exe", "\xff\xfea": "a", ".profile": ".profile", long + ".txt": strings.Repeat("é", 125) + ".txt",
	} {
		if got := safetext.FileName(given); got != want {
			t.Errorf("FileName(%q) = %q, want %q", given, got, want)
		}
	}
}

func FuzzFileName(f *testing.F) {
	for _, seed := range []string{"a.txt", "../x", `..\x`, "NUL", "CON" + strings.Repeat(" ", 300) + "x", "NUL." + strings.Repeat("a", 300), "lpt1" + strings.Repeat(" ", 300) + ".txt", "\x00", strings.Repeat("é.", 300), "a" + strings.Repeat(".", 300) + "b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, given string) {
		name := safetext.FileName(given)
		if len(name) > 255 || !utf8.ValidString(name) || strings.ContainsAny(name, "/\\\x00\r\n\":*?<>|") || name == "." || name == ".." ||
			strings.HasSuffix(name, ".") || strings.HasSuffix(name, " ") {
			t.Errorf("FileName(%q) = %q", given, name)
		}
		if again := safetext.FileName(name); again != name {
			t.Errorf("FileName(%q) = %q, and of that %q", given, name, again)
		}
	})
}
