package telemetry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"
	"weak"

	"go.opentelemetry.io/otel/trace"
	"pgregory.net/rapid"

	"github.com/chassi-go/chassi"
)

// A sink writes the lines that a handler without one writes, in their order, whoever encodes them.
func TestSinkEncodesAsTheHandlerDoes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		w, direct := newWriter(), new(bytes.Buffer)
		close(w.opened)
		s := newTestSink(w)
		handlers := [...]slog.Handler{newJSONHandler(s, slog.LevelInfo), newJSONHandler(direct, slog.LevelInfo)}
		for range rapid.IntRange(1, 30).Draw(r, "lines") {
			ctx := context.Background()
			if rapid.Bool().Draw(r, "in a call") {
				call := &chassi.Call{RequestID: rapid.String().Draw(r, "request id")}
				ctx = trace.ContextWithSpanContext(call.Context(ctx), newSpanContext())
			}
			line := slog.NewRecord(time.Unix(rapid.Int64Range(0, 1<<33).Draw(r, "time"), 5), slog.LevelInfo, rapid.String().Draw(r, "message"), 0)
			line.AddAttrs(rapid.SliceOfN(anyAttr, 0, 8).Draw(r, "attributes")...)
			group, with := rapid.Bool().Draw(r, "group"), rapid.SliceOfN(anyAttr, 0, 2).Draw(r, "with")
			for _, h := range handlers {
				if group {
					h = h.WithGroup("group")
				}
				if err := h.WithAttrs(with).Handle(ctx, line); err != nil {
					r.Fatal(err)
				}
			}
		}
		s.close(context.Background())
		if w.String() != direct.String() {
			r.Errorf("through a sink:\n%s\nwithout:\n%s", w, direct)
		}
	})
}

var anyAttr = rapid.Custom(func(r *rapid.T) slog.Attr {
	key := rapid.SampledFrom([]string{"", "a", "token", "überall", "stack"}).Draw(r, "key")
	text := rapid.String().Draw(r, "text")
	return slog.Attr{Key: key, Value: rapid.SampledFrom([]slog.Value{
		slog.StringValue(text), slog.IntValue(len(text)), slog.Uint64Value(1 << 63), slog.Float64Value(0.1), slog.BoolValue(true),
		slog.DurationValue(time.Second), slog.TimeValue(time.Unix(1, 2)), slog.AnyValue(errors.New(text)), slog.AnyValue(nil),
		slog.GroupValue(slog.String("b", text)), slog.AnyValue(secretive(text)),
		slog.AnyValue(netip.MustParseAddr("192.0.2.1")), slog.AnyValue(netip.MustParseAddr("2001:db8::1")), slog.AnyValue(netip.Addr{}),
		slog.AnyValue(netip.MustParseAddr("fe80::1").WithZone(text)),
	}).Draw(r, "value")}
})

type secretive string

// LogValue implements [slog.LogValuer].
func (s secretive) LogValue() slog.Value { return slog.IntValue(len(s)) }

// What may change is encoded at once, and what refers to much memory counts as that.
func TestLateRecordsAreConstantAndCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWriter()
		s := newTestSink(w)
		logger := slog.New(newJSONHandler(s, slog.LevelInfo))
		changing := map[string]int{"n": 1}
		logger.Info("m", "v", changing)
		changing["n"] = 2
		s.flushNow()
		synctest.Wait() // the writer blocks
		text := strings.Repeat("x", maxValue)
		const lines = 2 * sinkBytes / maxValue
		for range lines {
			logger.Info("m", "v", text)
		}
		lost := s.dropped.Load()
		if lost < lines/2 || lost > lines/2+lines/10 {
			t.Errorf("%d lines are dropped, want about %d", lost, lines/2)
		}
		close(w.opened)
		s.close(t.Context())
		got := w.lines()
		if !strings.Contains(got[0], `"v":{"n":1}`) {
			t.Errorf("the first line is %s", got[0])
		}
		if last := got[len(got)-1]; last != fmt.Sprint("lost ", lost) {
			t.Errorf("the last line is %.100s", last)
		}
		if len(got) != 2+lines-int(lost) {
			t.Errorf("%d lines, want %d", len(got), 2+lines-int(lost))
		}
		logger.Info("after the end")
		if !strings.Contains(w.String(), "after the end") {
			t.Error("a line after the end is missing")
		}
	})
}

// Records that wait to be encoded do not refer to much memory, whatever they consist of.
func TestLateRecordsAreBounded(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", maxValue)
	attrs := make([]slog.Attr, 500)
	for i := range attrs {
		attrs[i] = slog.Int("n", i)
	}
	for name, log := range map[string]func(*slog.Logger){
		"value":             func(l *slog.Logger) { l.Info("m", "v", long) },
		"key":               func(l *slog.Logger) { l.Info("m", long, 1) },
		"many attributes":   func(l *slog.Logger) { l.LogAttrs(context.Background(), slog.LevelInfo, "m", attrs...) },
		"logger of one use": func(l *slog.Logger) { l.With("v", long).Info("m") },
		"short":             func(l *slog.Logger) { l.Info("m", "v", 1) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newIdleSink(io.Discard, nil)
			for range 3000 {
				log(slog.New(newJSONHandler(s, slog.LevelInfo)))
			}
			size := 0
			for _, r := range s.pending.records {
				size += int(reflect.TypeOf(r).Size()) + len(r.handler.rendered)
				r.record.Attrs(func(a slog.Attr) bool {
					size += len(a.Key) + len(a.Value.String())
					return true
				})
				size += max(r.record.NumAttrs()-inlineAttrs, 0) * int(reflect.TypeFor[slog.Attr]().Size())
			}
			if size == 0 || size > lateBytes+lateBytes/10 {
				t.Errorf("the records take %d bytes, want %d at most", size, lateBytes)
			}
		})
	}
}

// A record whose string is a part of a long text, such as the body of a request, does not keep the
// text while the output is blocked, whether it was logged before the write or during it.
func TestLateRecordsPinNothingDuringAWrite(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWriter()
		s := newTestSink(w)
		logger := slog.New(newJSONHandler(s, slog.LevelInfo))
		var texts []weak.Pointer[byte]
		logPart := func() {
			text := strings.Repeat("x", 1<<20)
			texts = append(texts, weak.Make(unsafe.StringData(text)))
			logger.Info("m", "v", text[:10])
		}
		logPart()
		s.flushNow()
		synctest.Wait() // the writer blocks
		logPart()
		logPart()
		runtime.GC()
		for i, text := range texts {
			if text.Value() != nil {
				t.Errorf("the text of line %d is in memory", i+1)
			}
		}
		close(w.opened)
		s.close(t.Context())
		if got := strings.Count(w.String(), `"v":"xxxxxxxxxx"`); got != 3 {
			t.Errorf("%d lines, want 3", got)
		}
	})
}

// Lines that fit when they are encoded are not dropped because their records take more.
func TestLateRecordsAreNotDropped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWriter()
		s := newTestSink(w)
		logger := slog.New(newJSONHandler(s, slog.LevelInfo))
		logger.Info("m")
		s.flushNow()
		synctest.Wait() // the writer blocks
		logger.Info("long", "v", strings.Repeat("x", sinkBytes))
		const lines = 20_000
		for i := range lines {
			logger.Info("m", "i", i)
		}
		close(w.opened)
		s.close(t.Context())
		got := w.lines()
		if len(got) != 2+lines {
			t.Fatalf("%d lines, want %d, the last one is %.100s", len(got), 2+lines, got[len(got)-1])
		}
		if !strings.Contains(got[1], `…(truncated, `) {
			t.Errorf("the long line is %.100s", got[1])
		}
		for i, line := range got[2:] {
			if !strings.HasSuffix(line, fmt.Sprintf(`"i":%d}`, i)) {
				t.Fatalf("line %d is %s", i, line)
			}
		}
	})
}
