package transporttest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
)

// sizeLimit is the maximum size of requests and responses in the cases about sizes, including the
// overhead of the transport.
const sizeLimit = 1 << 20

// Sized requests a response with the given number of characters.
type Sized struct {
	Characters int    `json:"characters"`
	Padding    string `json:"padding"`
}

// Padding is a response of any size.
type Padding struct {
	Padding string `json:"padding"`
}

func (s *suite) size(_ context.Context, r *Sized) (*Padding, error) {
	s.sized.Add(1)
	return &Padding{strings.Repeat("x", r.Characters)}, nil
}

// limited starts a server with sizeLimit as the limit of requests and responses. It returns false for
// a transport without sizes.
func (f *fixture) limited(t *testing.T) bool {
	t.Helper()
	f.start(t, func(o *Options) { o.MaxMessageBytes, o.MaxResponseBytes = sizeLimit, sizeLimit })
	return f.Send != nil
}

// A response of any size arrives, or its caller, and no other, soon gets an error. The method runs
// once for each call.
func testResponseSizes(t *testing.T, f *fixture) {
	if !f.limited(t) {
		return
	}
	defer f.undisturbed(t)()
	probes := findLimit(t, "response_too_large", func(ctx context.Context, n int) error {
		got, err := client.Invoke[Padding](ctx, f.client, "Size", &Sized{Characters: n})
		if err == nil && got.Padding != strings.Repeat("x", n) {
			return fmt.Errorf("%d characters arrived as %d", n, len(got.Padding))
		}
		return err
	})
	if n := int(f.service.sized.Load()); n != probes.calls {
		t.Errorf("the method ran %d times in %d calls", n, probes.calls)
	}
}

// A request of any size arrives, or its caller, and no other, soon gets an error and the method does
// not run.
func testRequestSizes(t *testing.T, f *fixture) {
	if !f.limited(t) {
		return
	}
	defer f.undisturbed(t)()
	served := 0
	findLimit(t, "body_too_large", func(ctx context.Context, n int) error {
		_, err := client.Invoke[Padding](ctx, f.client, "Size", &Sized{Characters: 1, Padding: strings.Repeat("x", n)})
		if err == nil {
			served++
		}
		return err
	})
	if n := int(f.service.sized.Load()); n != served {
		t.Errorf("the method ran %d times for %d responses", n, served)
	}
}

// sizeProbe makes calls of increasing size.
type sizeProbe struct {
	*testing.T

	reason  string // of the error of a call that is too large
	call    func(ctx context.Context, n int) error
	calls   int
	slowest time.Duration
}

// fits reports whether a call of n characters succeeds. It fails the test if the call fails for
// another reason than its size, for example if there is no response before the deadline.
func (p *sizeProbe) fits(n int) bool {
	p.Helper()
	p.calls++
	ctx, cancel := context.WithTimeout(p.Context(), patience)
	defer cancel()
	begun := time.Now()
	err := p.call(ctx, n)
	p.slowest = max(p.slowest, time.Since(begun))
	switch e := chassi.ErrorOf(err); {
	case err == nil:
		return true
	case e.Code == chassi.ResourceExhausted && e.Reason == p.reason:
		return false
	default:
		p.Fatalf("%d characters: %v, want success or resource_exhausted, %s", n, err, p.reason)
		return false
	}
}

// findLimit makes calls of 1 to 10*sizeLimit characters. By bisection it finds the largest size that
// fits, which must be near the limit.
func findLimit(t *testing.T, reason string, call func(ctx context.Context, n int) error) *sizeProbe {
	t.Helper()
	p := &sizeProbe{T: t, reason: reason, call: call}
	if !p.fits(1) {
		t.Fatal("one character does not fit")
	}
	largest, tooLarge := 1, 10*sizeLimit
	if p.fits(tooLarge) {
		t.Fatalf("%d characters fit", tooLarge)
	}
	for tooLarge-largest > 1 {
		if n := (largest + tooLarge) / 2; p.fits(n) {
			largest = n
		} else {
			tooLarge = n
		}
	}
	if largest > sizeLimit || largest < sizeLimit-1024 {
		t.Errorf("at most %d characters fit, want about %d", largest, sizeLimit)
	}
	if !p.fits(1) || !p.fits(largest) {
		t.Error("what fitted does not any more")
	}
	t.Logf("the slowest of %d calls took %v", p.calls, p.slowest.Round(time.Millisecond))
	return p
}

// undisturbed makes small calls until the function that it returns is called. The test fails if one
// of these calls fails.
func (f *fixture) undisturbed(t *testing.T) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(bounded(t))
	var calling sync.WaitGroup
	calling.Go(func() {
		for i := int64(0); ctx.Err() == nil; i++ {
			got, err := client.Invoke[Echo](context.WithoutCancel(ctx), f.client, "Echo", &Message{Word: "w", Number: i})
			if err != nil || got.Message.Number != i {
				t.Errorf("the call %d of another caller: %+v, %v", i, got, err)
				return
			}
		}
	})
	return func() {
		cancel()
		calling.Wait()
	}
}

// An error with a message and violations that are too large keeps its code and reason.
func testLargeErrors(t *testing.T, f *fixture) {
	f.limited(t)
	for _, code := range []chassi.Code{chassi.NotFound, chassi.FailedPrecondition} {
		_, err := client.Invoke[Nothing](bounded(t), f.client, "Fail", &Failure{Code: int32(code), How: "large message"})
		if e := chassi.ErrorOf(err); e == nil || e.Code != code || e.Reason != theError(code).Reason || !strings.HasPrefix(e.Message, "A long message") {
			t.Errorf("%v arrived as %.200v", code, err)
		}
	}
}

// Metadata that some transport cannot carry is an error on each transport.
func testInvalidMetadata(t *testing.T, f *fixture) {
	f.start(t)
	for name, pair := range map[string][2]string{
		"not ASCII": {"X-Extra", "grüße"}, "a line break": {"X-Extra", "a\r\nX-Other: b"}, "a control character": {"X-Extra", "a\x00"},
		"a name that is not ASCII": {"X-Grüße", "a"}, "a name with a space": {"X Extra", "a"}, "no name": {"", "a"},
	} {
		_, err := client.Invoke[Nothing](bounded(t), f.with(t, pair[0], pair[1]), "Fail", &Failure{Code: int32(chassi.NotFound)})
		if e := chassi.ErrorOf(err); e == nil || e.Code != chassi.InvalidArgument || e.Reason != "invalid_metadata" {
			t.Errorf("%s: %v, want invalid_argument, invalid_metadata", name, err)
		}
	}
	for _, size := range []int{20 << 10, 100 << 10} {
		_, err := client.Invoke[Nothing](bounded(t), f.with(t, "X-Extra", strings.Repeat("x", size)), "Fail", &Failure{Code: int32(chassi.NotFound)})
		if e := chassi.ErrorOf(err); e == nil || e.Code != chassi.ResourceExhausted && (size > 64<<10 || e.Code != chassi.NotFound) {
			t.Errorf("metadata of %d bytes: %v, want resource_exhausted", size, err)
		}
	}
	for _, how := range []string{"response not ASCII", "response name", "response too much"} {
		_, err := client.Invoke[Nothing](bounded(t), f.client, "Fail", &Failure{How: how})
		if e := chassi.ErrorOf(err); e == nil || e.Code != chassi.Internal {
			t.Errorf("%s: %v, want internal", how, err)
		}
	}
	if log := f.log.String(); !strings.Contains(log, "X-Reply") || !strings.Contains(log, "printable ASCII") {
		t.Errorf("the log does not say what is wrong with the response:\n%s", log)
	}
	if _, err := client.Invoke[Echo](bounded(t), f.client, "Echo", full()); err != nil {
		t.Errorf("after that: %v", err)
	}
}
