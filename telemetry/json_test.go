package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/netip"
	"strings"
	"testing"
	"testing/slogtest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/trace"

	"github.com/chassi-go/chassi"
)

func TestJSONHandlerConforms(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	slogtest.Run(t, func(*testing.T) slog.Handler {
		out.Reset()
		return newJSONHandler(&out, slog.LevelInfo)
	}, func(t *testing.T) map[string]any { return decodeLine(t, out.Bytes()) })
}

// decodeLine fails unless line is one line with one JSON object.
func decodeLine(t testing.TB, line []byte) map[string]any {
	t.Helper()
	text, ok := bytes.CutSuffix(line, []byte{'\n'})
	if !ok || bytes.ContainsAny(text, "\n\r") {
		t.Fatalf("not exactly one line: %q", line)
	}
	if !utf8.Valid(text) {
		t.Fatalf("not UTF-8: %q", line)
	}
	var m map[string]any
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatalf("not JSON: %v: %q", err, line)
	}
	return m
}

type panicking struct{}

func (panicking) MarshalJSON() ([]byte, error) { panic("boom") }

type valuer struct{ v slog.Value }

func (v valuer) LogValue() slog.Value { return v.v }

// Whatever value is logged, the line says what slog's own handler says.
func TestJSONHandlerMatchesSlog(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 21, 1, 2, 3, 45, time.UTC)
	for name, a := range map[string]slog.Attr{
		"string":           slog.String("k", `a "b" \ c`),
		"control":          slog.String("k", "a\r\n\t\x00\x1b[2Jb\u2028\u2029"),
		"invalid UTF-8":    slog.String("k", "a\xff\xc3("),
		"replacement rune": slog.String("k", "\uFFFD"),
		"int":              slog.Int("k", math.MinInt64),
		"uint":             slog.Uint64("k", math.MaxUint64),
		"float":            slog.Float64("k", 1e21),
		"small float":      slog.Float64("k", -0.25),
		"bool":             slog.Bool("k", true),
		"time":             slog.Time("k", at),
		"nil":              slog.Any("k", nil),
		"error":            slog.Any("k", errors.New("went\nwrong")),
		"struct":           slog.Any("k", struct{ A, B string }{"<x>", "\u2028"}),
		"text marshaler":   slog.Any("k", netip.MustParseAddr("10.0.0.1")),
		"raw JSON":         slog.Any("k", json.RawMessage("{\n\"a\": 1}")),
		"group":            slog.Group("k", slog.Int("a", 1), slog.Group("b", slog.Int("c", 2)), slog.Group("empty")),
		"valuer":           slog.Any("k", valuer{slog.GroupValue(slog.Int("a", 1))}),
		"odd key":          slog.Int("k\n\"\x1b\u2028", 1),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var ours, theirs bytes.Buffer
			for _, h := range []slog.Handler{newJSONHandler(&ours, slog.LevelInfo), slog.NewJSONHandler(&theirs, nil)} {
				r := slog.NewRecord(at, slog.LevelWarn, "m\u2028\n", 0)
				r.AddAttrs(a)
				if err := h.WithAttrs([]slog.Attr{a}).WithGroup("g").Handle(t.Context(), r); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(decodeLine(t, theirs.Bytes()), decodeLine(t, ours.Bytes())); diff != "" {
				t.Errorf("differs from slog (-slog +ours):\n%s", diff)
			}
		})
	}
}

// A duration has the same form in JSON as on a terminal.
func TestDurationsAreText(t *testing.T) {
	t.Parallel()
	for _, newHandler := range []func(io.Writer, slog.Leveler) slog.Handler{
		newJSONHandler, func(w io.Writer, l slog.Leveler) slog.Handler { return newTextHandler(w, l, false) },
	} {
		var line bytes.Buffer
		slog.New(newHandler(&line, slog.LevelInfo)).Info("m", "k", 90*time.Second, slog.Group("g", "k", 1500*time.Microsecond))
		if got := line.String(); !strings.Contains(got, "1m30s") || !strings.Contains(got, "1.5ms") {
			t.Errorf("%s", got)
		}
	}
}

func TestJSONHandlerSurvivesBadValues(t *testing.T) {
	t.Parallel()
	var nilError *chassi.Error
	for want, value := range map[string]any{
		"NaN":            math.NaN(),
		"+Inf":           math.Inf(1),
		"!PANIC: boom":   panicking{},
		"!ERROR":         func() {},
		"nil *chassi":    nilError,
		"invalid memory": (*nilPanics)(nil),
	} {
		var out bytes.Buffer
		slog.New(newJSONHandler(&out, slog.LevelInfo)).Info("m", "k", value)
		if got := fmt.Sprint(decodeLine(t, out.Bytes())["k"]); !strings.Contains(got, want) {
			t.Errorf("%T is logged as %q, want %q", value, got, want)
		}
	}
}

type nilPanics struct{ text string }

func (p *nilPanics) Error() string { return p.text }

// The IDs stay at the top of the line whatever group the logger is in: where operators look for
// them.
func TestLinesOfACallHaveItsIDs(t *testing.T) {
	t.Parallel()
	traceID, spanID := trace.TraceID{1, 2, 3, 15: 0xff}, trace.SpanID{4, 7: 0xee}
	call := &chassi.Call{RequestID: "r-1"}
	ctx := call.Context(t.Context())
	with := func(flags trace.TraceFlags, remote bool) context.Context {
		return trace.ContextWithSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: traceID, SpanID: spanID, TraceFlags: flags, Remote: remote,
		}))
	}
	for name, c := range map[string]struct {
		ctx  context.Context
		want map[string]any
	}{
		"no call":      {t.Context(), map[string]any{}},
		"no span":      {ctx, map[string]any{"request_id": "r-1"}},
		"not sampled":  {with(0, false), map[string]any{"request_id": "r-1", "trace_id": traceID.String()}},
		"sampled":      {with(trace.FlagsSampled, false), map[string]any{"request_id": "r-1", "trace_id": traceID.String(), "span_id": spanID.String()}},
		"the caller's": {with(trace.FlagsSampled, true), map[string]any{"request_id": "r-1", "trace_id": traceID.String()}},
	} {
		var jsonOut, textOut bytes.Buffer
		slog.New(newJSONHandler(&jsonOut, slog.LevelInfo)).With("a", 1).WithGroup("g").InfoContext(c.ctx, "m", "b", 2)
		got := decodeLine(t, jsonOut.Bytes())
		c.want["level"], c.want["msg"], c.want["time"], c.want["a"], c.want["g"] = "INFO", "m", got["time"], 1.0, map[string]any{"b": 2.0}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: (-want +got):\n%s", name, diff)
		}

		slog.New(newTextHandler(&textOut, slog.LevelInfo, false)).With("a", 1).WithGroup("g").InfoContext(c.ctx, "m", "b", 2)
		for _, key := range []string{"request_id", "trace_id", "span_id"} {
			value, ok := c.want[key]
			if has := strings.Contains(textOut.String(), fmt.Sprintf(" %s=%v", key, value)); has != ok {
				t.Errorf("%s: text %q: has %s is %v, want %v", name, textOut.String(), key, has, ok)
			}
		}
	}
}

func FuzzLogLine(f *testing.F) {
	f.Add("message", "key", "value")
	f.Add("a\nb\r\x1b[2J\u2028\u202e\x9b", "k\n", "\x00\"\\\xff{}[],:\u0085")
	f.Add("", "", "")
	f.Add(`{"level":"ERROR"}`, `","admin":true,"`, "\ufeff\U0010ffff")
	f.Fuzz(func(t *testing.T, msg, key, value string) {
		ctx := (&chassi.Call{RequestID: value}).Context(t.Context())
		log := func(l *slog.Logger) {
			l.With(key, value).WithGroup(key).InfoContext(ctx, msg, key, value,
				"error", errors.New(value), "any", struct{ V string }{value}, slog.Group(value, key, value))
		}
		var jsonOut, textOut, colourOut bytes.Buffer
		log(slog.New(newJSONHandler(&jsonOut, slog.LevelInfo)))
		got := decodeLine(t, jsonOut.Bytes())
		if want := truncate(msg, maxValue); utf8.ValidString(msg) && key != "msg" && got["msg"] != want {
			t.Errorf("the message %q arrives as %q", want, got["msg"])
		}
		assertHarmless(t, jsonOut.String())
		log(slog.New(newTextHandler(&textOut, slog.LevelInfo, false)))
		assertHarmless(t, textOut.String())
		log(slog.New(newTextHandler(&colourOut, slog.LevelInfo, true)))
		assertHarmless(t, colours.Replace(colourOut.String()))
	})
}

// colours are the sequences that tint itself writes.
var colours = strings.NewReplacer("\x1b[0m", "", "\x1b[2m", "", "\x1b[22m", "", "\x1b[92m", "", "\x1b[91m", "", "\x1b[93m", "")

// assertHarmless fails unless text is one line that a terminal shows as it is.
func assertHarmless(t testing.TB, text string) {
	t.Helper()
	line, ok := strings.CutSuffix(text, "\n")
	if !ok || !utf8.ValidString(line) {
		t.Fatalf("not a line of UTF-8: %q", text)
	}
	for _, r := range line {
		if r < ' ' || r == 0x7f || isTricky(r) {
			t.Fatalf("U+%04X gets through: %q", r, text)
		}
	}
}

// T27 of the attacks.
func TestT27LogInjection(t *testing.T) {
	t.Parallel()
	evil := "x\r\n{\"level\":\"ERROR\"}\x1b[2J\u2028\u202e\u009b1m\x7f"
	for format := range map[string]bool{"json": true, "text": true} {
		var out bytes.Buffer
		tel, err := New(t.Context(), "s", "1", Config{Log: LogConfig{Format: format}}, &out)
		if err != nil {
			t.Fatal(err)
		}
		tel.Logger.With(evil, evil).Info(evil, "kid", evil, "error", errors.New(evil), evil, []string{evil})
		if err := tel.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		assertHarmless(t, out.String())
	}
}

func BenchmarkAccessLine(b *testing.B) {
	tel, err := New(b.Context(), "bench", "1", Config{}, io.Discard)
	if err != nil {
		b.Fatal(err)
	}
	defer tel.Stop(context.Background())
	ctx := (&chassi.Call{RequestID: "0123456789abcdef0123456789abcdef"}).Context(b.Context())
	ctx, _ = tel.Tracer.Tracer("bench").Start(ctx, "x")
	line := tel.Logger.With("transport", "http", "method", "POST", "route", "POST /v1/auth")
	b.ReportAllocs()
	for b.Loop() {
		line.LogAttrs(ctx, slog.LevelInfo, "call", slog.Int("status", 200), slog.Int64("latency_us", 123),
			slog.String("peer", "127.0.0.1"), slog.String("subject", "u1"))
	}
}

func BenchmarkTextLine(b *testing.B) {
	logger := slog.New(newTextHandler(io.Discard, slog.LevelInfo, true))
	b.ReportAllocs()
	for b.Loop() {
		logger.LogAttrs(b.Context(), slog.LevelInfo, "call", slog.Int("status", 200), slog.String("peer", "127.0.0.1"))
	}
}

// A value is truncated only if its JSON is longer than the maximum.
func TestLongestValue(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]bool{98: false, 99: true} {
		v := []string{strings.Repeat("x", n)}
		b := appendAny(nil, v, 102)
		if truncated := !json.Valid(b) || b[0] != '['; truncated != want {
			t.Errorf("%d bytes: %s", n+4, b)
		}
	}
}
