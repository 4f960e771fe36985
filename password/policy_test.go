package password_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/text/unicode/norm"

	"github.com/chassi-go/chassi/password"
)

func TestT23LimitsOfText(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		text string
		want error
	}{
		"eight code points of four bytes": {"🐎🔋📎✅🐢🍋🎺🧲", nil},
		"seven code points of four bytes": {"🐎🔋📎✅🐢🍋🎺", password.TooShort},
		"NUL":                             {"good pass\x00word", password.InvalidText},
		"lone surrogate":                  {"good pass\xed\xa0\x80word", password.InvalidText},
		"overlong NUL":                    {"good pass\xc0\x80word", password.InvalidText},
		"longest":                         {strings.Repeat("ab#4Q ~z", 128), nil},
		"one byte longer":                 {strings.Repeat("ab#4Q ~z", 128) + "x", password.TooLong},
		"a megabyte":                      {strings.Repeat("x", 1<<20), password.TooLong},
		"too long only when normalised":   {strings.Repeat("\ufdfa", 100), password.TooLong},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := (password.Policy{}).Check(tt.text); !errors.Is(err, tt.want) {
				t.Errorf("Check = %v, want %v", err, tt.want)
			}
			if _, err := password.Hash(cheap, tt.text); (err != nil) != (tt.want != nil && tt.want != password.TooShort) {
				t.Errorf("Hash: %v", err)
			}
		})
	}
}

func TestPolicyCheck(t *testing.T) {
	t.Parallel()
	policy := password.Policy{MinLength: 10, MaxBytes: 64, Blocklist: password.ParseBlocklist("Hunter Gatherer\r\n\n\xff\n")}
	tests := []struct {
		text    string
		context []string
		want    []password.Reason
	}{
		{"lamp otter quilt", nil, nil},
		{"zk8Q#w1", nil, []password.Reason{password.TooShort}},
		{"dragon", nil, []password.Reason{password.TooShort, password.Common}},
		{"", nil, []password.Reason{password.TooShort}},
		{"lamp otter quilt " + strings.Repeat("x", 60), nil, []password.Reason{password.TooLong}},
		{"hunter gatherer", nil, []password.Reason{password.Common}},
		{"HUNTER GATHERER", nil, []password.Reason{password.Common}},
		{"hunter gatherer\n", nil, nil},
		{"xx-Mallory-xx", []string{"mallory@example.org"}, []password.Reason{password.ContainsContext}},
		{"quiltexample7", []string{"mallory@example.org"}, []password.Reason{password.ContainsContext}},
		{"quilt jane lamp", []string{"jane.doe@a.org"}, []password.Reason{password.ContainsContext}},
		{"quilt doe lamp", []string{"doe@a.org", ""}, nil},
		{"quilt ｍａｌｌｏｒｙ", []string{"mallory@a.org"}, []password.Reason{password.ContainsContext}},
	}
	for _, tt := range tests {
		var refused *password.PolicyError
		var got []password.Reason
		if err := policy.Check(tt.text, tt.context...); errors.As(err, &refused) {
			got = refused.Reasons
		} else if err != nil {
			t.Errorf("%q: error of type %T", tt.text, err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%q with %q (-want +got):\n%s", tt.text, tt.context, diff)
		}
	}
}

func TestPolicyErrorHoldsNoPassword(t *testing.T) {
	t.Parallel()
	err := (password.Policy{MinLength: 40}).Check("dragon8264", "dragon8264@example.org")
	if got, want := fmt.Sprintf("%+v", err), "password: refused: too_short, common, contains_context"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestCommonPasswords(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"password", "Password1", "P@ssw0rd!", "passw0rd123", "123password", "letmein2024", "Dragon!!", "iloveyou1",
		"12345678", "87654321", "123456789", "1234567890", "abcdefgh", "19871225", "00000000", "aaaaaaaaaaaaaaa",
		"abababab", "xyz1xyz1xyz1", "dragondragon", "qwertyuiop", "asdfghjkl", "1q2w3e4r5t", "1qaz2wsx", "qwerty123",
		"poiuytrewq", "zaq12wsx", "adm1n1strat0r", "football99", "Summer2025!", "changeme",
	} {
		if err := (password.Policy{}).Check(text); !errors.Is(err, password.Common) {
			t.Errorf("%q is taken: %v", text, err)
		}
	}
}

func TestUncommonPasswords(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"correct horse battery staple", "tr0ub4dor&3x", "lamp otter quilt", "xK9#mQ2$vL", "Grüße aus Köln", "пароль-надёжный",
		"dragon in the attic", "5558675309142", "mein blauer stuhl", "ab\nab\nab\nx", "\n\n\n\nx\n\n\n",
	} {
		if err := (password.Policy{}).Check(text); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzNormalize(f *testing.F) {
	f.Add("caf\u0065\u0301")
	f.Add("\ufdfa\x00")
	f.Add(" Pass \xff")
	f.Fuzz(func(t *testing.T, text string) {
		_ = (password.Policy{}).Check(text, text)
		once, err := password.Normalize(text)
		if err != nil {
			return
		}
		if len(once) > password.MaxBytes || !utf8.ValidString(once) || !norm.NFKC.IsNormalString(once) {
			t.Errorf("%q is normalised to %q", text, once)
		}
		if twice, err := password.Normalize(once); err != nil || twice != once {
			t.Errorf("%q, normalised twice: %q, %v", once, twice, err)
		}
	})
}

func ExamplePolicy() {
	policy := password.Policy{MinLength: 12}
	fmt.Println(policy.Check("Ada2024!", "ada@example.org"))
	fmt.Println(policy.Check("Summer2024", "ada@example.org"))
	fmt.Println(policy.Check("lamp otter quilt", "ada@example.org"))
	// Output:
	// password: refused: too_short
	// password: refused: too_short, common
	// <nil>
}
