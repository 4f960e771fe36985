package password

import "testing"

// parse accepts only one spelling, within bounds.
func FuzzParse(f *testing.F) {
	f.Add("$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc")
	f.Add("$argon2id$v=19$m=4294967295,t=4294967295,p=255$c29tZXNhbHQ$AAAA")
	f.Add("$argon2id$v=19$$$$$")
	f.Add("$2b$10$")
	f.Fuzz(func(t *testing.T, encoded string) {
		d, err := parse(encoded)
		if err != nil {
			return
		}
		if d.String() != encoded {
			t.Errorf("%q is read as %q", encoded, d.String())
		}
		if err := d.params.Validate(); err != nil {
			t.Error(err)
		}
	})
}

func TestWordsAreAsTheSearchNeedsThem(t *testing.T) {
	t.Parallel()
	if commonWords[0] != '\n' || commonWords[len(commonWords)-1] != '\n' {
		t.Error("words.txt must begin and end with a line break")
	}
	if got := ParseBlocklist(commonWords).lines; got != commonWords {
		t.Error("words.txt must be in lower case, NFKC and without empty lines")
	}
	longest, line := 0, 0
	for _, c := range []byte(commonWords) {
		if line++; c == '\n' {
			line = 0
		}
		longest = max(longest, line)
	}
	if longest > maxWord {
		t.Errorf("the longest word has %d bytes, maxWord is %d", longest, maxWord)
	}
}
