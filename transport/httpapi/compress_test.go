package httpapi

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

func TestNegotiate(t *testing.T) {
	t.Parallel()
	cases := map[string]coding{
		"":                               identity,
		"gzip":                           gzipCoding,
		"zstd":                           zstdCoding,
		"GZIP":                           gzipCoding,
		"x-gzip":                         gzipCoding,
		"br":                             identity,
		"deflate, br":                    identity,
		"gzip, deflate, br, zstd":        zstdCoding,
		"zstd, gzip":                     zstdCoding,
		"gzip;q=1.0, zstd;q=0.5":         gzipCoding,
		"gzip;q=0.5,zstd;q=0.501":        zstdCoding,
		"gzip;q=0":                       identity,
		"gzip;q=0.000, zstd;q=0":         identity,
		"zstd;q=0, gzip":                 gzipCoding,
		"zstd;q=0, *":                    gzipCoding,
		"*":                              gzipCoding,
		"*;q=0":                          identity,
		"gzip;q=0, *":                    identity,
		"gzip, *;q=0":                    gzipCoding,
		"identity":                       identity,
		"identity, gzip;q=0.5":           identity,
		"identity;q=0.5, gzip;q=0.5":     gzipCoding,
		"identity;q=0, gzip;q=0.1":       gzipCoding,
		"identity;q=0":                   identity,
		" gzip ; q=0.7 ,\tzstd ; Q=0.8 ": zstdCoding,
		"gzip;level=9;q=0":               identity,
		"gzip;q=1.001":                   identity,
		"gzip;q=2":                       identity,
		"gzip;q=-1":                      identity,
		"gzip;q=0.1234":                  identity,
		"gzip;q=x":                       identity,
		"gzip;q=0.x":                     identity,
		"gzip;q=0.1:":                    identity,
		"gzip;q=0.5/":                    identity,
		"gzip;q=0.009, zstd;q=0.010":     zstdCoding,
		"gzip;q=0.1, zstd;q=0.099":       gzipCoding,
		"gzip;q=1.000, zstd;q=0.999":     gzipCoding,
		"gzip;q=00.5":                    identity,
		"gzip;q=":                        identity,
		"gzip;q=1e0":                     identity,
		"gzip;q=1.":                      gzipCoding,
		",,;,=,gzip,":                    gzipCoding,
		"gzipped":                        identity,
	}
	for accept, want := range cases {
		if got := negotiate(accept); got != want {
			t.Errorf("negotiate(%q) = %q, want %q", accept, got, want)
		}
	}
}

func TestNegotiateDoesNotAllocate(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { negotiate("gzip;q=0.8, deflate, br;q=1.0, zstd;q=0.9, *;q=0.1") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	r := &http.Request{Header: http.Header{"Accept-Encoding": {"gzip"}}}
	if n := testing.AllocsPerRun(100, func() { acceptEncoding(r) }); n != 0 {
		t.Errorf("reading the header: %v allocations", n)
	}
}

// A coding that the client did not name, in some spelling, is never chosen.
func FuzzNegotiate(f *testing.F) {
	for _, accept := range []string{"", "gzip", "zstd;q=0.5, *;q=0", "gzip;q=1.001", ";;q=,,", "x-gzip;q=0.1;x=\"a,b\""} {
		f.Add(accept)
	}
	f.Fuzz(func(t *testing.T, accept string) {
		got, lower := negotiate(accept), strings.ToLower(accept)
		if got == zstdCoding && !strings.Contains(lower, "zstd") || got == gzipCoding && !strings.ContainsAny(lower, "*g") {
			t.Errorf("negotiate(%q) = %q", accept, got)
		}
		if q := thousandths(accept); q < 0 || q > 1000 {
			t.Errorf("thousandths(%q) = %d", accept, q)
		}
	})
}

// decode reads a body back.
func decode(t *testing.T, with coding, body []byte) string {
	t.Helper()
	var (
		r   io.Reader = bytes.NewReader(body)
		err error
	)
	switch with {
	case gzipCoding:
		r, err = gzip.NewReader(r)
	case zstdCoding:
		var z *zstd.Decoder
		if z, err = zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20)); err == nil { // RFC 9659
			defer z.Close()
			r = z
		}
	}
	if err != nil {
		t.Fatalf("%s: %v", with, err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("%s: %v", with, err)
	}
	return string(text)
}

func TestAppendEncoded(t *testing.T) {
	t.Parallel()
	noise := make([]byte, 100_000)
	rand.Read(noise)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for _, with := range []coding{gzipCoding, zstdCoding} {
				for _, body := range []string{"", "a", strings.Repeat("hello ", 1000), string(noise), strings.Repeat("x", 3<<20)} {
					out := appendEncoded([]byte("before"), with, []byte(body))
					if !bytes.HasPrefix(out, []byte("before")) {
						t.Errorf("%s: dst was lost", with)
					} else if len(body) > 0 && decode(t, with, out[len("before"):]) != body {
						t.Errorf("%s: %d bytes came back otherwise", with, len(body))
					}
				}
			}
		})
	}
	wg.Wait()
}

func TestIsText(t *testing.T) {
	t.Parallel()
	for media, want := range map[string]bool{
		"application/json": true, "application/problem+json": true, "Application/JSON; charset=utf-8": true, "application/x-ndjson": true,
		"text/html": true, "text/css ; charset=utf-8": true, "application/javascript": true, "image/svg+xml": true, "application/yaml": true,
		"text/event-stream": false, "text/event-stream; charset=utf-8": false, "": false, "image/png": false, "application/zip": false,
		"application/gzip": false, "video/mp4": false, "application/octet-stream": false, "multipart/byteranges; boundary=x": false, "font/woff2": false,
	} {
		if got := isText(media); got != want {
			t.Errorf("isText(%q) = %v", media, got)
		}
	}
}

func benchmarkBody() []byte {
	type user struct {
		Email string `json:"email"`
		Name  string `json:"name"`
		N     int    `json:"n"`
	}
	users := make([]user, 100)
	for i := range users {
		users[i] = user{Email: strings.Repeat("a", i%7) + "@example.com", Name: "Somebody", N: i * i}
	}
	body, _ := json.Marshal(users)
	return body
}

func BenchmarkAppendEncoded(b *testing.B) {
	for _, with := range []coding{gzipCoding, zstdCoding} {
		b.Run(string(with), func(b *testing.B) {
			body, dst := benchmarkBody(), make([]byte, 0, 64<<10)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				appendEncoded(dst, with, body)
			}
		})
	}
}

func BenchmarkNegotiate(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		negotiate("gzip, deflate, br, zstd")
	}
}
