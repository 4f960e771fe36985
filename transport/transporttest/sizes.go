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

// sizeLimit is the maximum size in bytes of requests and responses in the cases about sizes,
// including the overhead of the transport.
const sizeLimit = 1 << 20

// Sized is the request of Size, which responds with the given number of characters.
type Sized struct {
	Characters int    `json:"characters"`
	Padding    string `json:"padding"`
}

// Padding is the response of the method Size. The request determines its length.
type Padding struct {
	Padding string `json:"padding"`
}

func (s *suite) size(_ context.Context, r *Sized) (*Padding, error) {
	s.sized.Add(1)
	return &Padding{strings.Repeat("x", r.Characters)}, nil
}

// limited starts a server with sizeLimit as the limit of requests and responses. It reports whether
// the transport has payloads, whose size can be limited.
func (f *fixture) limited(t *testing.T) bool {
	t.Helper()
	f.start(t, func(o *Options) { o.MaxMessageBytes, o.MaxResponseBytes = sizeLimit, sizeLimit })
	return f.Send != nil
}

// testResponseSizes verifies that a response either arrives or, if it is too large, causes an error
// for its own call only, and that the method runs once for each call.
func testResponseSizes(t *testing.T, f *fixture) {
	if !f.limited(t) {
		return
	}
	defer f.undisturbed(t)()
	probes := findLimit(t, "response_too_large", func(ctx context.Context, n int) error {
		got, err := client.Invoke[Padding](ctx, f.client, "Size", &Sized{Characters: n})
		if err == nil && got.Padding != strings.Repeat("x", n) {
			return fmt.Errorf("got %d characters, want %d times x", len(got.Padding), n)
		}
		return err
	})
	if n := int(f.service.sized.Load()); n != probes.calls {
		t.Errorf("the method ran %d times, want %d, the number of calls", n, probes.calls)
	}
}

// testRequestSizes verifies that a request either arrives or, if it is too large, causes an error
// for its own call only, and that the method does not run for a request that is too large.
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
		t.Errorf("the method ran %d times, want %d, the number of successful calls", n, served)
	}
}

// sizeProbe makes calls of different sizes to find the largest size that a transport supports.
type sizeProbe struct {
	*testing.T

	reason  string // reason of the error for a call that is too large
	call    func(ctx context.Context, n int) error
	calls   int
	slowest time.Duration
}

// fits reports whether a call of n characters succeeds. It fails the test if the call fails for a
// reason other than its size, for example because there is no response before the deadline.
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
		p.Fatalf("%d characters: got %v, want success or resource_exhausted with the reason %s", n, err, p.reason)
		return false
	}
}

// findLimit finds the largest size that fits, by a binary search from 1 to 10*sizeLimit characters.
// It fails the test if this size is not near sizeLimit, and returns the probe that made the calls.
func findLimit(t *testing.T, reason string, call func(ctx context.Context, n int) error) *sizeProbe {
	t.Helper()
	p := &sizeProbe{T: t, reason: reason, call: call}
	if !p.fits(1) {
		t.Fatalf("1 character: got the error %s, want success", reason)
	}
	largest, tooLarge := 1, 10*sizeLimit
	if p.fits(tooLarge) {
		t.Fatalf("%d characters: got success, want the error %s", tooLarge, reason)
	}
	for tooLarge-largest > 1 {
		if n := (largest + tooLarge) / 2; p.fits(n) {
			largest = n
		} else {
			tooLarge = n
		}
	}
	if largest > sizeLimit || largest < sizeLimit-1024 {
		t.Errorf("the largest accepted size is %d characters, want %d to %d", largest, sizeLimit-1024, sizeLimit)
	}
	if !p.fits(1) || !p.fits(largest) {
		t.Errorf("1 or %d characters: got the error %s in a repeated call, want success as before", largest, reason)
	}
	t.Logf("the slowest of %d calls took %v", p.calls, p.slowest.Round(time.Millisecond))
	return p
}

// undisturbed makes small calls in the background until the returned function is called. The test
// fails if one of these calls fails.
func (f *fixture) undisturbed(t *testing.T) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(bounded(t))
	var calling sync.WaitGroup
	calling.Go(func() {
		for i := int64(0); ctx.Err() == nil; i++ {
			got, err := client.Invoke[Echo](context.WithoutCancel(ctx), f.client, "Echo", &Message{Word: "w", Number: i})
			if err != nil || got.Message.Number != i {
				t.Errorf("small call beside the large calls: got %+v, error %v, want the number %d", got, err, i)
				return
			}
		}
	})
	return func() {
		cancel()
		calling.Wait()
	}
}

// testLargeErrors verifies that an error arrives with its code and reason even if its message and
// violations are too large to be sent completely.
func testLargeErrors(t *testing.T, f *fixture) {
	f.limited(t)
	for _, code := range []chassi.Code{chassi.NotFound, chassi.FailedPrecondition} {
		_, err := client.Invoke[Nothing](bounded(t), f.client, "Fail", &Failure{Code: int32(code), How: "large message"})
		if e := chassi.ErrorOf(err); e == nil || e.Code != code || e.Reason != theError(code).Reason || !strings.HasPrefix(e.Message, "A long message") {
			t.Errorf("large error with code %v: got %.200v, want the reason %s and a message that begins with \"A long message\"", code, err, theError(code).Reason)
		}
	}
}

// testInvalidMetadata verifies that every transport refuses metadata that at least one of the
// transports cannot send.
func testInvalidMetadata(t *testing.T, f *fixture) {
	f.start(t)
	for name, pair := range map[string][2]string{
		"not ASCII": {"X-Extra", "grüße"}, "a line break": {"X-Extra", "a\r\nX-Other: b"}, "a control character": {"X-Extra", "a\x00"},
		"a name that is not ASCII": {"X-Grüße", "a"}, "a name with a space": {"X Extra", "a"}, "no name": {"", "a"},
	} {
		_, err := client.Invoke[Nothing](bounded(t), f.with(t, pair[0], pair[1]), "Fail", &Failure{Code: int32(chassi.NotFound)})
		if e := chassi.ErrorOf(err); e == nil || e.Code != chassi.InvalidArgument || e.Reason != "invalid_metadata" {
			t.Errorf("metadata with %s: got %v, want invalid_argument with the reason invalid_metadata", name, err)
		}
	}
	for _, size := range []int{20 << 10, 100 << 10} {
		_, err := client.Invoke[Nothing](bounded(t), f.with(t, "X-Extra", strings.Repeat("x", size)), "Fail", &Failure{Code: int32(chassi.NotFound)})
		if e := chassi.ErrorOf(err); e == nil || e.Code != chassi.ResourceExhausted && (size > 64<<10 || e.Code != chassi.NotFound) {
			t.Errorf("metadata of %d bytes: got %v, want resource_exhausted or, up to 64 KiB, the method's error", size, err)
		}
	}
	for _, how := range []string{"response not ASCII", "response name", "response too much"} {
		_, err := client.Invoke[Nothing](bounded(t), f.client, "Fail", &Failure{How: how})
		if e := chassi.ErrorOf(err); e == nil || e.Code != chassi.Internal {
			t.Errorf("invalid metadata (%s): got %v, want internal", how, err)
		}
	}
	if log := f.log.String(); !strings.Contains(log, "X-Reply") || !strings.Contains(log, "printable ASCII") {
		t.Errorf("got a log that does not contain both X-Reply and \"printable ASCII\":\n%s", log)
	}
	if _, err := client.Invoke[Echo](bounded(t), f.client, "Echo", full()); err != nil {
		t.Errorf("call after the invalid metadata: got the error %v, want none", err)
	}
}
