package grpcapi_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chassi-go/chassi/internal/h2test"
	"github.com/chassi-go/chassi/transport/grpcapi"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// longest is the longest deadline that a call can have (gRPC over HTTP2, "Timeout"):
// 11,415 years.
const longest = "99999999H"

// header is that of a call with the longest deadline, with other fields for some.
func header(path string, other ...[2]string) [][2]string {
	fields := [][2]string{
		{":method", "POST"}, {":scheme", "http"}, {":authority", "x"}, {":path", path},
		{"content-type", "application/grpc"}, {"te", "trailers"}, {"grpc-timeout", longest},
	}
	for _, o := range other {
		for i := range fields {
			if fields[i][0] == o[0] {
				fields[i] = o
			}
		}
	}
	return fields
}

// occupied is a server all of whose streams for one client are taken by health watches,
// and another connection of that client.
func occupied(t *testing.T) *attacker {
	t.Helper()
	s := serveTarget(t, grpcapi.Config{MaxStreamsPerClient: 2}, false)
	watcher := attack(t, s)
	for range 2 {
		if _, err := watcher.call("/grpc.health.v1.Health/Watch", true); err != nil {
			t.Fatal(err)
		}
	}
	if err := watcher.Out.Flush(); err != nil {
		t.Fatal(err)
	}
	for responses := 0; responses < 2; { // the watches run
		frame, err := watcher.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := frame.(*http2.DataFrame); ok {
			responses++
		}
	}
	return attack(t, s)
}

// ended reads until n calls have ended, by a response or by a reset without one. A reset
// for no error comes behind the response of a call whose message was not read.
func (a *attacker) ended(t *testing.T, n int, field func(hpack.HeaderField)) {
	t.Helper()
	a.Extend() // many calls may take longer, each group of them may not
	if err := a.Out.Flush(); err != nil {
		t.Fatal(err)
	}
	a.decoder.SetEmitFunc(field)
	for n > 0 {
		frame, err := a.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		switch frame := frame.(type) {
		case *http2.HeadersFrame:
			if _, err := a.decoder.Write(frame.HeaderBlockFragment()); err != nil {
				t.Fatal(err)
			}
			if frame.StreamEnded() {
				n--
			}
		case *http2.RSTStreamFrame:
			if frame.ErrCode != http2.ErrCodeNo {
				n--
			}
		}
	}
}

// refusedPaths are one of each kind that is registered in its own way.
var refusedPaths = map[string]string{
	"endpoint":        "/greet.v1.Greeter/Greet",
	"unknown method":  "/greet.v1.Greeter/None",
	"unknown service": "/no.Service/None",
	"health check":    "/grpc.health.v1.Health/Check",
	"health list":     "/grpc.health.v1.Health/List",
	"health watch":    "/grpc.health.v1.Health/Watch",
	"reflection":      "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
}

// Every call beyond its client's is refused without waiting for its message, and the client learns
// when to retry.
func TestExcessCallsAreRefusedUnread(t *testing.T) {
	t.Parallel()
	a := occupied(t)
	for name, path := range refusedPaths {
		if _, err := a.Begin(false, header(path)...); err != nil {
			t.Fatal(err)
		}
		got := make(map[string]string)
		a.ended(t, 1, func(f hpack.HeaderField) { got[f.Name] = f.Value })
		if got[":status"] != "200" || got["grpc-status"] != "8" || got["grpc-message"] != "More than 2 calls of one client at once" {
			t.Errorf("%s: %v", name, got)
		}
		if details := decodeBinary(t, got["grpc-status-details-bin"]); !strings.Contains(details, "google.rpc.RetryInfo") {
			t.Errorf("%s: no retry hint in %q", name, details)
		}
	}
}

// leastLeft is less than what a call takes that leaves anything behind: its stream, its context or
// its timer, in bytes.
const leastLeft = 125

// leftNothing waits until the heap is as it was before n calls.
func leftNothing(t *testing.T, calls string, before uint64, n int) {
	t.Helper()
	h2test.Until(t, 10*time.Second, func() bool { return h2test.Heap() <= before+uint64(n)*leastLeft }, calls+" leave more on the heap")
}

// A call that is refused leaves nothing behind, whatever deadline its client has given it.
func TestRefusedCallsLeaveNothing(t *testing.T) { // alone: it looks at the heap
	greet := refusedPaths["endpoint"]
	kinds := map[string][][2]string{
		"path without a method": header("/greet.v1.Greeter"),
		"unknown encoding":      append(header(greet), [2]string{"grpc-encoding", "zstd"}),
		"GET":                   header(greet, [2]string{":method", "GET"}),
		"no authority":          append(header(greet)[:2:2], header(greet)[3:]...),
		"wrong content type":    header(greet, [2]string{"content-type", "text/plain"}),
		"malformed metadata":    append(header(greet), [2]string{"x-bin", "%"}),
		"connection header":     append(header(greet), [2]string{"connection", "close"}),
		"timeout over":          header(greet, [2]string{"grpc-timeout", "0n"}),
	}
	for name, path := range refusedPaths {
		kinds[name] = header(path)
	}
	for name, fields := range kinds {
		for _, end := range []bool{true, false} {
			a := occupied(t)
			refuse := func(n int) {
				for sent := 0; sent < n; sent += maxStreams {
					for range maxStreams {
						if _, err := a.Begin(end, fields...); err != nil {
							t.Fatal(err)
						}
					}
					a.ended(t, maxStreams, func(hpack.HeaderField) {})
				}
			}
			refuse(1000) // buffers and stacks have grown
			before := h2test.Heap()
			const n = 4000
			refuse(n)
			a.Conn.Close()
			leftNothing(t, fmt.Sprintf("%s, ended %v", name, end), before, n)
		}
	}
}

// Calls beyond the streams of their connection leave nothing either.
func TestExcessCallsLeaveNoResources(t *testing.T) { // alone: it looks at the heap
	s := serveTarget(t, grpcapi.Config{}, false)
	a := attack(t, s)
	for range maxStreams {
		if _, err := a.Begin(false, header("/test.v1.Test/Wait")...); err != nil {
			t.Fatal(err)
		}
	}
	beyond := func(n int) {
		for sent := 0; sent < n; sent += 100 {
			for range 100 {
				if _, err := a.Begin(false, header("/test.v1.Test/Wait")...); err != nil {
					t.Fatal(err)
				}
			}
			a.ended(t, 100, func(hpack.HeaderField) {})
		}
	}
	beyond(1000)
	before := h2test.Heap()
	const n = 40_000
	beyond(n)
	leftNothing(t, "calls in excess", before, n)
}

// decodeBinary reads a value of binary metadata (gRPC over HTTP2, "Custom-Metadata").
func decodeBinary(t *testing.T, value string) string {
	t.Helper()
	decoded, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(value, "="))
	if err != nil {
		t.Fatal(err)
	}
	return string(decoded)
}

// Of a client that does not take its refusals no more calls are taken in than its connection
// may have.
func TestUnreadRefusalsAreBounded(t *testing.T) { // alone: it looks at the heap
	a := occupied(t)
	before := h2test.Heap()
	if err := a.Conn.SetWriteDeadline(time.Now().Add(2 * time.Second)); err != nil {
		t.Fatal(err)
	}
	sent := a.Repeat(2_000_000, func() error {
		_, err := a.Begin(true, header(refusedPaths["endpoint"])...)
		return err
	})
	after := h2test.Heap()
	t.Logf("%d sent, %d KiB more on the heap", sent, (int64(after)-int64(before))>>10)
	// Buffers take up to 7 MiB, depending on what else the machine does; 300,000 refusals that
	// are kept, at 260 bytes each, would take 80.
	if after > before+16<<20 {
		t.Errorf("%d bytes more on the heap", after-before)
	}
}
