package httpapi

import (
	"errors"
	"io"
	"net/http"
	"testing"

	"golang.org/x/net/http2"
)

// readUntil reads frames until ok says so, and fails if the connection ends before.
func (a *attacker) readUntil(t *testing.T, what string, ok func(http2.Frame) bool) {
	t.Helper()
	for {
		frame, err := a.ReadFrame()
		if err != nil {
			t.Fatalf("no %s: %v", what, err)
		}
		if ok(frame) {
			return
		}
	}
}

// ended tells the end of a call's response.
func ended(id uint32) func(http2.Frame) bool {
	return func(f http2.Frame) bool {
		return f.Header().StreamID == id && f.Header().Flags.Has(http2.FlagDataEndStream)
	}
}

// A body that is refused unread ends its call only: the other calls of the HTTP/2
// connection go on, and so do later ones (RFC 9113, section 8.1).
func TestUnreadBodyKeepsHTTP2Connection(t *testing.T) {
	t.Parallel()
	for _, overTLS := range []bool{true, false} {
		s := serveTarget(t, Config{}, overTLS)
		a := attack(t, s)
		beside, err := a.call(http.MethodPost, "/read")
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"/nothing", "/closed", "/things/a"} { // 404, 401, 405
			id, err := a.call(http.MethodPost, path)
			if err != nil || a.Out.Flush() != nil {
				t.Fatal(err)
			}
			a.readUntil(t, "response of "+path, ended(id))
		}
		if err := errors.Join(a.WriteData(beside, true, []byte("body")), a.Out.Flush()); err != nil {
			t.Fatal(err)
		}
		a.readUntil(t, "response of the call beside", ended(beside))
		if !a.Answered(t) {
			t.Errorf("TLS %v: the connection has ended", overTLS)
		}
	}
}

// The reason for which a connection ends arrives, also when the body of a call was
// refused unread before.
func TestGoAwayArrivesBehindAnUnreadBody(t *testing.T) {
	t.Parallel()
	s := serveTarget(t, Config{}, false)
	a := attack(t, s)
	id, err := a.call(http.MethodPost, "/nothing")
	if err != nil || a.Out.Flush() != nil {
		t.Fatal(err)
	}
	a.readUntil(t, "response", ended(id))
	a.SetMaxReadFrameSize(1 << 20)
	if err := errors.Join(a.WriteRawFrame(http2.FrameData, 0, id, make([]byte, 1<<20+1)), a.Out.Flush()); err != nil && !errors.Is(err, io.ErrClosedPipe) {
		t.Logf("the frame was not taken to its end: %v", err)
	}
	a.readUntil(t, "GOAWAY of the right code", func(f http2.Frame) bool {
		away, ok := f.(*http2.GoAwayFrame)
		return ok && away.ErrCode == http2.ErrCodeFrameSize
	})
}
