package safetext_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/chassi-go/chassi/internal/safetext"
)

func TestClip(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"": "", "short": "short", "é": "é", "a\nb\x00": "a b ", "\xff\xfea": "a", "123456789": "12345678…", "1234567é": "1234567…",
	} {
		if got := safetext.Clip(text, 8); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}

// The reason is one short line without the value that was sent.
func TestReason(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err         error
		value, want string
	}{
		{errors.New("unknown color"), "puce", "unknown color"},
		{fmt.Errorf("color %q of\nmany", "puce"), "puce", `color "…" of many`},
		{fmt.Errorf("color %q", "pu\nce"), "pu\nce", `color "…"`},
		{errors.New("not a level"), "a", "not a level"},
		{errors.New("puce"), "puce", "…"},
		{errors.New(""), "puce", "is invalid"},
	} {
		if got := safetext.Reason(c.err, c.value); got != c.want {
			t.Errorf("%q of %q becomes %q, want %q", c.err, c.value, got, c.want)
		}
	}
	if got := safetext.Reason(errors.New(strings.Repeat("é", 1000)), "x"); len(got) > 210 || !utf8.ValidString(got) {
		t.Errorf("%d bytes", len(got))
	}
}
