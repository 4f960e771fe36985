package chassi_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/google/go-cmp/cmp"
)

var errGone = chassi.NewError(chassi.NotFound, "gone", "It is gone")

func TestCodesAreGRPCsSixteen(t *testing.T) {
	t.Parallel()
	codes := chassi.Codes()
	if len(codes) != 16 || codes[0] != chassi.Canceled || codes[15] != chassi.Unauthenticated {
		t.Fatalf("Codes() = %v: want 16, from Canceled to Unauthenticated", codes)
	}
	seen := make(map[string]chassi.Code)
	for i, c := range codes {
		name := c.String()
		if int(c) != i+1 {
			t.Errorf("code %v has number %d, want %d", c, c, i+1)
		}
		if other, taken := seen[name]; taken {
			t.Errorf("codes %d and %d are both called %q", other, c, name)
		}
		if name == "" || strings.HasPrefix(name, "code_") || name != strings.ToLower(name) {
			t.Errorf("code %d has no proper name: %q", c, name)
		}
		seen[name] = c
		if parsed, ok := chassi.ParseCode(name); parsed != c || !ok {
			t.Errorf("ParseCode(%q) = %v, %t, want %v", name, parsed, ok, c)
		}
	}
	for _, name := range []string{"", "Canceled", "code_17"} {
		if parsed, ok := chassi.ParseCode(name); parsed != 0 || ok {
			t.Errorf("ParseCode(%q) = %v, %t, want none", name, parsed, ok)
		}
	}
}

func TestCodeOutOfRangeHasAName(t *testing.T) {
	t.Parallel()
	for code, want := range map[chassi.Code]string{0: "code_0", 17: "code_17", 255: "code_255"} {
		if got := code.String(); got != want {
			t.Errorf("Code(%d).String() = %q, want %q", uint8(code), got, want)
		}
	}
}

func TestErrorIsAndAsThroughWrapping(t *testing.T) {
	t.Parallel()
	wrapped := fmt.Errorf("load: %w", errors.Join(io.EOF, errGone.WithCause(io.ErrUnexpectedEOF)))
	for _, target := range []error{errGone, io.EOF, io.ErrUnexpectedEOF} {
		if !errors.Is(wrapped, target) {
			t.Errorf("errors.Is(%v, %v) = false", wrapped, target)
		}
	}
	var e *chassi.Error
	if !errors.As(wrapped, &e) || e.Reason != "gone" {
		t.Errorf("errors.As found %v", e)
	}
}

func TestErrorsAreTheSameByCodeAndReason(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name   string
		target error
		want   bool
	}{
		{"another message", chassi.NewError(chassi.NotFound, "gone", "Weg"), true},
		{"another reason", chassi.NewError(chassi.NotFound, "lost", "It is gone"), false},
		{"another code", chassi.NewError(chassi.Internal, "gone", "It is gone"), false},
		{"a nil *Error", (*chassi.Error)(nil), false},
		{"another type", io.EOF, false},
	}
	for _, c := range cases {
		if got := errors.Is(errGone, c.target); got != c.want {
			t.Errorf("%s: errors.Is = %v, want %v", c.name, got, c.want)
		}
	}
}

func TestWithLeavesTheSentinelAlone(t *testing.T) {
	t.Parallel()
	sentinel := chassi.NewError(chassi.InvalidArgument, "invalid", "Invalid")
	violations := []chassi.Violation{{Field: "email", Message: "must be an address"}}
	changed := sentinel.WithCause(io.EOF).WithRetryAfter(time.Second).WithViolations(violations...)
	violations[0].Field = "overwritten"

	if diff := cmp.Diff(chassi.NewError(chassi.InvalidArgument, "invalid", "Invalid"), sentinel); diff != "" {
		t.Errorf("the sentinel changed:\n%s", diff)
	}
	if changed.Cause != io.EOF || changed.RetryAfter != time.Second || changed.Violations[0].Field != "email" {
		t.Errorf("the copy is %+v", changed)
	}
	if !errors.Is(changed, sentinel) {
		t.Error("the copy is not the sentinel to errors.Is")
	}
}

func TestErrorOf(t *testing.T) {
	t.Parallel()
	foreign := errors.New("pq: password wrong for 10.0.0.7")
	var typedNil *chassi.Error
	cases := []struct {
		name   string
		err    error
		code   chassi.Code
		reason string
	}{
		{"itself", errGone, chassi.NotFound, "gone"},
		{"wrapped", fmt.Errorf("x: %w", errGone), chassi.NotFound, "gone"},
		{"first of two", errors.Join(foreign, errGone, chassi.NewError(chassi.Aborted, "second", "")), chassi.NotFound, "gone"},
		{"with a cause of its own kind", chassi.NewError(chassi.Internal, "outer", "").WithCause(errGone), chassi.Internal, "outer"},
		{"canceled", fmt.Errorf("query: %w", context.Canceled), chassi.Canceled, "canceled"},
		{"deadline", fmt.Errorf("query: %w", context.DeadlineExceeded), chassi.DeadlineExceeded, "deadline_exceeded"},
		{"foreign", foreign, chassi.Internal, "internal"},
		{"panic", chassi.Recovered("boom"), chassi.Internal, "internal"},
		{"no code", &chassi.Error{Reason: "forgot"}, chassi.Internal, "internal"},
		{"code out of range", fmt.Errorf("x: %w", &chassi.Error{Code: 17, Reason: "odd"}), chassi.Internal, "internal"},
		{"a nil *Error", typedNil, chassi.Internal, "internal"},
		{"unavailable", fmt.Errorf("x: %w", dependencyError{unavailable: true}), chassi.Unavailable, "unavailable"},
		{"invalid", fmt.Errorf("x: %w", dependencyError{invalid: true}), chassi.InvalidArgument, "invalid_argument"},
		{"neither", dependencyError{}, chassi.Internal, "internal"},
		{"a wrapped nil *Error", fmt.Errorf("x: %w", typedNil), chassi.Internal, "internal"},
	}
	for _, c := range cases {
		got := chassi.ErrorOf(c.err)
		if got.Code != c.code || got.Reason != c.reason {
			t.Errorf("%s: ErrorOf = %v, want %v (%s)", c.name, got, c.code, c.reason)
		}
		if strings.Contains(got.Message, "password") {
			t.Errorf("%s: the message shows the cause: %q", c.name, got.Message)
		}
	}
	if got := chassi.ErrorOf(nil); got != nil {
		t.Errorf("ErrorOf(nil) = %v, want nil", got)
	}
	if got := chassi.ErrorOf(foreign); !errors.Is(got, foreign) {
		t.Error("ErrorOf hides a foreign error so well that the log loses it")
	}
}

type dependencyError struct{ unavailable, invalid bool }

func (dependencyError) Error() string           { return "password" }
func (e dependencyError) Unavailable() bool     { return e.unavailable }
func (e dependencyError) InvalidArgument() bool { return e.invalid }

// Callers are told when to try again while a dependency is unavailable.
func TestRetryAfterOfAnUnavailableDependency(t *testing.T) {
	t.Parallel()
	for _, err := range []error{dependencyError{unavailable: true}, &net.OpError{Op: "dial", Err: errors.New("refused")}} {
		if e := chassi.ErrorOf(err); e.RetryAfter != time.Second {
			t.Errorf("%#v: %v", err, e.RetryAfter)
		}
	}
}

func TestErrorOfAnErrorAllocatesNothing(t *testing.T) {
	err := error(errGone)
	if n := testing.AllocsPerRun(100, func() { chassi.ErrorOf(err) }); n != 0 {
		t.Errorf("ErrorOf allocates %v times", n)
	}
}

// A nil *Error that slipped into an error must not cause a panic when it is formatted.
func TestNilErrorIsHarmless(t *testing.T) {
	t.Parallel()
	var e *chassi.Error
	if e.Error() == "" || e.Unwrap() != nil || e.Is(errGone) || errors.Is(e, io.EOF) {
		t.Errorf("nil *Error: Error %q, Unwrap %v", e.Error(), e.Unwrap())
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Error("x", "error", e, "seen", chassi.ErrorOf(e))
	if strings.Contains(log.String(), "panicked") || !strings.Contains(log.String(), "nil *chassi.Error") {
		t.Errorf("logged as %s", log.String())
	}
}

func TestLogValueShowsTheHiddenCause(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	err := errGone.WithCause(errors.New("row 7 missing")).WithViolations(chassi.Violation{Field: "id", Message: "must exist"})
	slog.New(slog.NewTextHandler(&log, nil)).Error("x", "error", err)
	for _, want := range []string{"error.code=not_found", "error.reason=gone", `error.message="It is gone"`, `error.cause="row 7 missing"`, `error.violation.id="must exist"`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("%s lacks %s", log.String(), want)
		}
	}
}

func TestErrorTextNamesEverything(t *testing.T) {
	t.Parallel()
	got := errGone.WithCause(io.EOF).Error()
	if want := "not_found (gone): It is gone: EOF"; got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
}

func TestRecoveredKeepsValueAndStack(t *testing.T) {
	t.Parallel()
	err := func() (err error) {
		defer func() { err = chassi.Recovered(recover()) }()
		panicking()
		return nil
	}()
	var p *chassi.PanicError
	if !errors.As(err, &p) || !bytes.Contains(p.Stack, []byte("panicking")) {
		t.Fatalf("Recovered = %v: want a PanicError with the stack of the panic", err)
	}
	if p.Value != io.ErrClosedPipe || errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("Recovered = %v: want the panic's value in the PanicError, and not in the tree", err)
	}
	if text := chassi.ErrorOf(err).Message; text != "Internal error" {
		t.Errorf("callers see %q", text)
	}
	if strings.Contains(p.Error(), "goroutine") {
		t.Error("the stack is in the text, so it would be logged twice")
	}
	if err := chassi.Recovered(nil); err != nil {
		t.Errorf("Recovered(nil) = %v", err)
	}
}

func panicking() { panic(io.ErrClosedPipe) }
