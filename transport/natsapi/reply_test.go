package natsapi

import (
	"strings"
	"testing"
)

func TestRepliesAllow(t *testing.T) {
	t.Parallel()
	r, err := newReplies([]string{"_INBOX.>", "_R_.>", "responses.*.to"})
	if err != nil {
		t.Fatal(err)
	}
	for subject, want := range map[string]bool{
		"_INBOX.a": true, "_INBOX.a.b": true, "_R_.x.y": true, "responses.alice.to": true,
		"": false, "_INBOX": false, "_INBOX.": false, "_INBOX..a": false, "._INBOX.a": false, "_INBOXx.a": false, "a._INBOX.b": false,
		"_INBOX.*": false, "_INBOX.>": false, "_INBOX.a>": false, "_INBOX.a b": false, "_INBOX.a\r\nPUB x": false, "_INBOX.a\x00": false,
		"work.mail": false, "$JS.API.STREAM.DELETE.jobs": false, "auth.v1.Auth.SignUp": false, "responses.a.b.to": false, "responses.alice": false,
		"_INBOX." + strings.Repeat("a", maxSubject): false,
	} {
		if got := r.allow(subject); got != want {
			t.Errorf("%q: %t, want %t", subject, got, want)
		}
	}
}

func TestReplySubjectsThatAreRefused(t *testing.T) {
	t.Parallel()
	for _, pattern := range []string{"", ">", "*", "*.a", "$JS.>", "$SYS.a", "a..b", ".a", "a.", "a b", "a.>.b", "a>", "a.\x00"} {
		if _, err := newReplies([]string{"_INBOX.>", pattern}); err == nil || !strings.Contains(err.Error(), "reply_subjects") {
			t.Errorf("%q: %v", pattern, err)
		}
	}
}

// FuzzReplies holds that nothing is allowed outside of the pattern's first words, and
// nothing that is no subject of its own.
func FuzzReplies(f *testing.F) {
	for _, seed := range []string{"_INBOX.a", "_R_.b.c", "_INBOX.*", "_INBOX.>", "work.mail", "_INBOX..", "$JS.ACK"} {
		f.Add(seed)
	}
	r, err := newReplies([]string{"_INBOX.>", "_R_.>"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, subject string) {
		if !r.allow(subject) {
			return
		}
		if !strings.HasPrefix(subject, "_INBOX.") && !strings.HasPrefix(subject, "_R_.") {
			t.Errorf("%q is allowed", subject)
		}
		if strings.ContainsAny(subject, "*> \t\r\n\x00") || strings.Contains(subject, "..") || strings.HasSuffix(subject, ".") || len(subject) > maxSubject {
			t.Errorf("%q is allowed and no subject", subject)
		}
	})
}
