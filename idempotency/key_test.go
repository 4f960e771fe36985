package idempotency_test

import (
	"strings"
	"testing"

	"github.com/chassi-go/chassi/idempotency"
)

func TestParseKey(t *testing.T) {
	t.Parallel()
	long, escaped := strings.Repeat("k", 255), strings.Repeat(`\\`, 255)
	for value, want := range map[string]string{
		"8e03978e-40d5-43dd-bc93-6894a57f9324":   "8e03978e-40d5-43dd-bc93-6894a57f9324",
		`"8e03978e-40d5-43dd-bc93-6894a57f9324"`: "8e03978e-40d5-43dd-bc93-6894a57f9324",
		"k":                                      "k",
		`a"b\c;d`:                                `a"b\c;d`,
		`" a \"b\" \\ ~"`:                        ` a "b" \ ~`,
		long:                                     long,
		`"` + long + `"`:                         long,
		`"` + escaped + `"`:                      strings.Repeat(`\`, 255),
		"":                                       "",
		`""`:                                     "",
		`"`:                                      "",
		`"a`:                                     "",
		`"a"b`:                                   "",
		`"a";p=1`:                                "",
		`"a", "b"`:                               "",
		`"\a"`:                                   "",
		`"\`:                                     "",
		"a b":                                    "",
		" a":                                     "",
		"a\x00":                                  "",
		"\"a\x1f\"":                              "",
		"\"a\x7f\"":                              "",
		"ä":                                      "",
		`"ä"`:                                    "",
		"\xff":                                   "",
		long + "k":                               "",
		`"k` + long + `"`:                        "",
		`"\\` + escaped + `"`:                    "",
	} {
		if got, err := idempotency.ParseKey(value); got != want || (err == nil) != (want != "") {
			t.Errorf("%q is %q, %v, want %q", value, got, err, want)
		}
	}
}

func FuzzParseKey(f *testing.F) {
	for _, seed := range []string{"", "k", `"k"`, `"a\"b\\"`, `"a";p`, "ä", "\x00", strings.Repeat("k", 256)} {
		f.Add(seed)
	}
	quote := strings.NewReplacer(`\`, `\\`, `"`, `\"`)
	f.Fuzz(func(t *testing.T, value string) {
		key, err := idempotency.ParseKey(value)
		if err != nil {
			if key != "" {
				t.Errorf("%q is refused, and is %q", value, key)
			}
			return
		}
		if len(key) < 1 || len(key) > idempotency.MaxKey || strings.ContainsFunc(key, func(c rune) bool { return c < ' ' || c > '~' }) {
			t.Errorf("%q is %q", value, key)
		}
		if again, err := idempotency.ParseKey(`"` + quote.Replace(key) + `"`); again != key || err != nil {
			t.Errorf("%q is %q, and in quotes %q, %v", value, key, again, err)
		}
	})
}
