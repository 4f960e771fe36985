package telemetry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestTruncateReportsTheOriginalSize(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text string
		max  int
		want string
	}{
		{"short", 5, "short"},
		{"longer", 5, "longe…(truncated, 6 bytes)"},
		{"aé", 2, "a…(truncated, 3 bytes)"},          // no half characters
		{"ééé", 3, "é…(truncated, 6 bytes)"},         //
		{"\x80\x80\x80", 2, "…(truncated, 3 bytes)"}, // nor many steps back
		{strings.Repeat("\x80", 9), 8, strings.Repeat("\x80", 4) + "…(truncated, 9 bytes)"},
		{"", 0, ""},
	} {
		if got := truncate(c.text, c.max); got != c.want {
			t.Errorf("truncate(%q, %d) = %q, want %q", c.text, c.max, got, c.want)
		}
	}
}

// maxLine is what no line is longer than: a record, the value that made it so long with
// every byte escaped, and what stands around them.
const maxLine = maxRecord + 6*maxStack + 4<<10

type long struct{ n int }

func (l long) LogValue() slog.Value {
	var members []slog.Attr
	for i := range l.n {
		members = append(members, slog.String(fmt.Sprint("member", i), strings.Repeat("m", 1000)))
	}
	return slog.GroupValue(members...)
}

// Whatever is logged, the line has a bound and says what is missing, in both formats.
func TestLogLinesAreBounded(t *testing.T) {
	t.Parallel()
	mega := strings.Repeat("m", 1<<20)
	many := make([]any, 0, 2000)
	for i := range 1000 {
		many = append(many, fmt.Sprint("key", i), strings.Repeat("v", 1000))
	}
	for name, log := range map[string]func(*slog.Logger){
		"message":          func(l *slog.Logger) { l.Error(mega) },
		"text":             func(l *slog.Logger) { l.Error("m", "user_agent", mega) },
		"error":            func(l *slog.Logger) { l.Error("m", "error", errors.New(mega)) },
		"struct":           func(l *slog.Logger) { l.Error("m", "input", struct{ Text string }{mega}) },
		"list":             func(l *slog.Logger) { l.Error("m", "input", []string{mega, mega}) },
		"key":              func(l *slog.Logger) { l.Error("m", mega, "v") },
		"group's name":     func(l *slog.Logger) { l.Error("m", slog.Group(mega, "k", mega)) },
		"escapes":          func(l *slog.Logger) { l.Error("m", "input", strings.Repeat("\x00", 1<<20)) },
		"many attributes":  func(l *slog.Logger) { l.Error("m", many...) },
		"many in a group":  func(l *slog.Logger) { l.Error("m", slog.Group("g", many...)) },
		"many in a valuer": func(l *slog.Logger) { l.Error("m", "v", long{1000}) },
		"many of With":     func(l *slog.Logger) { l.With(many...).Error("m", "k", "v") },
	} {
		for format, handler := range map[string]func(*bytes.Buffer) slog.Handler{
			"json": func(b *bytes.Buffer) slog.Handler { return newJSONHandler(b, slog.LevelInfo) },
			"text": func(b *bytes.Buffer) slog.Handler { return newTextHandler(b, slog.LevelInfo, false) },
		} {
			var out bytes.Buffer
			log(slog.New(handler(&out)))
			if format == "json" {
				decodeLine(t, out.Bytes())
			}
			if n := out.Len(); n > maxLine {
				t.Errorf("%s, %s: a line of %d bytes", format, name, n)
			}
			if text := out.String(); !strings.Contains(text, "truncated") {
				t.Errorf("%s, %s: the line does not say that something is missing: %.200s", format, name, text)
			}
		}
	}
}

// A stack is generated here and may be longer; an ordinary line is left as it is.
func TestShortLinesAndStacksAreComplete(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	stack := strings.Repeat("s", maxStack)
	newLogger := slog.New(newJSONHandler(&out, slog.LevelInfo))
	newLogger.Info(strings.Repeat("m", maxValue), "stack", stack, "value", strings.Repeat("v", maxValue))
	line := decodeLine(t, out.Bytes())
	if line["stack"] != stack || len(line["msg"].(string)) != maxValue || len(line["value"].(string)) != maxValue || line["truncated"] != nil {
		t.Error("something was cut")
	}
}

func FuzzTruncate(f *testing.F) {
	f.Add("a text", 3)
	f.Add("ééé", 3)
	f.Fuzz(func(t *testing.T, text string, size int) {
		size = size&0xfff + utf8.UTFMax
		got := truncate(text, size)
		if len(got) > size+len("…(truncated, 9999999 bytes)") {
			t.Errorf("%d bytes of at most %d", len(got), size)
		}
		if len(text) <= size && got != text {
			t.Errorf("%q became %q", text, got)
		}
		if utf8.ValidString(text) && !utf8.ValidString(got) {
			t.Errorf("a character of %q was cut in two", text)
		}
		var out bytes.Buffer
		slog.New(newJSONHandler(&out, slog.LevelInfo)).LogAttrs(context.Background(), slog.LevelInfo, text, slog.String(text, text))
		if decodeLine(t, out.Bytes()); out.Len() > maxLine {
			t.Errorf("a line of %d bytes", out.Len())
		}
	})
}
