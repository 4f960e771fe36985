package httpapi

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

var long = strings.Repeat("to be compressed, ", 200)

// serveCompressed serves handler behind a compressWriter on a real server.
func serveCompressed(t *testing.T, handler http.HandlerFunc) (url string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		cw := newCompressWriter(w, r, 1024)
		handler(cw, r)
		cw.close()
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// fetch does not let the client negotiate or decode by itself.
func fetch(t *testing.T, method, url string, header ...string) (*http.Response, []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	transport := &http.Transport{DisableCompression: true}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, body
}

// response writes a text with these headers, in two pieces.
func respond(status int, text string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Add(header[i], header[i+1])
		}
		if status != 0 {
			w.WriteHeader(status)
		}
		io.WriteString(w, text[:len(text)/3])
		io.WriteString(w, text[len(text)/3:])
	}
}

func TestCompressWriter(t *testing.T) {
	t.Parallel()
	const textPlain = "text/plain; charset=utf-8"
	cases := map[string]struct {
		handler http.HandlerFunc
		accept  string
		want    coding
		vary    bool
		media   string
	}{
		"gzip":                       {respond(0, long), "gzip", gzipCoding, true, textPlain},
		"zstd":                       {respond(0, long), "gzip, zstd", zstdCoding, true, textPlain},
		"not asked for":              {respond(0, long), "", identity, true, textPlain},
		"refused":                    {respond(0, long), "gzip;q=0", identity, true, textPlain},
		"an error":                   {respond(500, long, "Content-Type", "application/problem+json"), "gzip", gzipCoding, true, "application/problem+json"},
		"small":                      {respond(0, "small"), "gzip", identity, false, textPlain},
		"small and declared":         {respond(0, "small", "Content-Length", "5"), "gzip", identity, false, textPlain},
		"declared":                   {respond(0, long, "Content-Length", "3600"), "gzip", gzipCoding, true, textPlain},
		"sniffed HTML":               {respond(0, "<!DOCTYPE html><p>"+long), "gzip", gzipCoding, true, "text/html; charset=utf-8"},
		"sniffed PNG":                {respond(0, "\x89PNG\x0D\x0A\x1A\x0A"+long), "gzip", identity, false, "image/png"},
		"image":                      {respond(0, long, "Content-Type", "image/png"), "gzip", identity, false, "image/png"},
		"zip":                        {respond(0, long, "Content-Type", "application/zip"), "gzip", identity, false, "application/zip"},
		"events":                     {respond(0, long, "Content-Type", "text/event-stream"), "gzip", identity, false, "text/event-stream"},
		"part":                       {respond(206, long, "Content-Type", "text/plain", "Content-Range", "bytes 0-3599/9999"), "gzip", identity, false, "text/plain"},
		"part without its status":    {respond(200, long, "Content-Type", "text/plain", "Content-Range", "bytes 0-3599/9999"), "gzip", identity, false, "text/plain"},
		"part without its range":     {respond(206, long, "Content-Type", "text/plain"), "gzip", identity, false, "text/plain"},
		"opted out":                  {respond(0, long, "Content-Type", "text/plain", "Cache-Control", "no-store, No-Transform"), "gzip", identity, false, "text/plain"},
		"opted out on a second line": {respond(0, long, "Content-Type", "text/plain", "Cache-Control", "no-store", "Cache-Control", "no-transform"), "gzip", identity, false, "text/plain"},
		"no-store alone":             {respond(0, long, "Content-Type", "text/plain", "Cache-Control", "no-store"), "gzip", gzipCoding, true, "text/plain"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := serveCompressed(t, c.handler)
			resp, body := fetch(t, http.MethodGet, url, "Accept-Encoding", c.accept)
			if got := coding(resp.Header.Get("Content-Encoding")); got != c.want {
				t.Fatalf("Content-Encoding: %q, want %q", got, c.want)
			}
			if vary := resp.Header.Get("Vary") == "Accept-Encoding"; vary != c.vary {
				t.Errorf("Vary: %q, want it %v", resp.Header["Vary"], c.vary)
			}
			if got := resp.Header.Get("Content-Type"); got != c.media {
				t.Errorf("Content-Type: %q, want %q", got, c.media)
			}
			_, plain := fetch(t, http.MethodGet, url)
			if decode(t, c.want, body) != string(plain) || len(plain) == 0 {
				t.Error("the body came otherwise")
			}
			if c.want != identity && len(body) > len(plain)/2 {
				t.Errorf("%d bytes of %d", len(body), len(plain))
			}
		})
	}
}

// A body that is encoded already goes as it is.
func TestCompressWriterLeavesEncodedBodies(t *testing.T) {
	t.Parallel()
	body := appendEncoded(nil, gzipCoding, []byte(long))
	url := serveCompressed(t, respond(0, strings.Repeat(string(body), 30), "Content-Encoding", "gzip", "Content-Type", "text/plain"))
	resp, got := fetch(t, http.MethodGet, url, "Accept-Encoding", "gzip, zstd")
	if diff := cmp.Diff([]string{"gzip"}, resp.Header["Content-Encoding"]); diff != "" {
		t.Error(diff)
	}
	if decode(t, gzipCoding, got) != strings.Repeat(long, 30) {
		t.Error("the body came otherwise")
	}
}

// A file, by way of http.ServeContent: ranges, revalidation and HEAD agree with
// the encoded response.
func TestCompressWriterAndServeContent(t *testing.T) {
	t.Parallel()
	url := serveCompressed(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"v1"`)
		http.ServeContent(w, r, "a.txt", time.Time{}, strings.NewReader(long))
	})
	const accept = "Accept-Encoding"
	resp, body := fetch(t, http.MethodGet, url, accept, "gzip")
	if got := resp.Header.Get("ETag"); got != `W/"v1"` || decode(t, gzipCoding, body) != long {
		t.Errorf("ETag %s, %d bytes", got, len(body))
	}
	if got := resp.Header.Get("Accept-Ranges"); got != "" {
		t.Errorf("Accept-Ranges: %s", got)
	}
	again, _ := fetch(t, http.MethodGet, url, accept, "gzip", "If-None-Match", `W/"v1"`)
	if again.StatusCode != http.StatusNotModified || again.Header.Get("ETag") != `W/"v1"` || again.Header.Get("Vary") != accept {
		t.Errorf("revalidated: %s %v", again.Status, again.Header)
	}
	again, _ = fetch(t, http.MethodGet, url, "If-None-Match", `"v1"`)
	if again.StatusCode != http.StatusNotModified || again.Header.Get("ETag") != `"v1"` {
		t.Errorf("revalidated as it is: %s %v", again.Status, again.Header)
	}
	part, text := fetch(t, http.MethodGet, url, accept, "gzip", "Range", "bytes=0-1999")
	if part.StatusCode != http.StatusPartialContent || string(text) != long[:2000] || part.Header.Get("Content-Encoding") != "" {
		t.Errorf("range: %s %v", part.Status, part.Header)
	}
	head, _ := fetch(t, http.MethodHead, url, accept, "gzip")
	if head.Header.Get("Content-Encoding") != "gzip" || head.ContentLength >= 0 || head.Header.Get("ETag") != `W/"v1"` {
		t.Errorf("HEAD: %v, length %d", head.Header, head.ContentLength)
	}
	if head, _ = fetch(t, http.MethodHead, url); head.ContentLength != int64(len(long)) || head.Header.Get("ETag") != `"v1"` {
		t.Errorf("HEAD as it is: %v, length %d", head.Header, head.ContentLength)
	}
}

// What fits its buffer is measured by net/http, which would tell the length of
// the body as it is.
func TestCompressWriterHeadThatWrites(t *testing.T) {
	t.Parallel()
	resp, body := fetch(t, http.MethodHead, serveCompressed(t, respond(0, long[:1500])), "Accept-Encoding", "gzip")
	if resp.Header.Get("Content-Encoding") != "gzip" || resp.ContentLength >= 0 || len(body) > 0 {
		t.Errorf("HEAD: %v, length %d", resp.Header, resp.ContentLength)
	}
}

// A handler that answers HEAD with the length alone, without a call of WriteHeader, has the
// headers of GET.
func TestCompressWriterHeadWithLength(t *testing.T) {
	t.Parallel()
	for name, header := range map[string][]string{
		"long": {"Content-Type", "text/plain", "Content-Length", "3600", "ETag", `"v1"`}, "short": {"Content-Type", "text/plain", "Content-Length", "10"},
		"image": {"Content-Type", "image/png", "Content-Length", "3600"}, "empty": {"Content-Type", "text/plain", "Content-Length", "0"},
	} {
		url := serveCompressed(t, func(w http.ResponseWriter, r *http.Request) {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			if n, _ := strconv.Atoi(header[3]); r.Method == http.MethodGet {
				io.WriteString(w, long[:n])
			}
		})
		for _, accept := range []string{"gzip", ""} {
			get, _ := fetch(t, http.MethodGet, url, "Accept-Encoding", accept)
			head, _ := fetch(t, http.MethodHead, url, "Accept-Encoding", accept)
			for _, h := range []http.Header{get.Header, head.Header} {
				h.Del("Date")
				if h.Get("Content-Encoding") != "" {
					h.Del("Content-Length") // of the encoded body, unknown to HEAD
				}
			}
			if diff := cmp.Diff(get.Header, head.Header); diff != "" {
				t.Errorf("%s, accepting %q: HEAD differs from GET (-GET +HEAD):\n%s", name, accept, diff)
			}
		}
	}
}

func TestCompressWriterWithoutBody(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusNoContent, http.StatusNotModified, http.StatusOK, http.StatusNotFound} {
		url := serveCompressed(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
		})
		resp, body := fetch(t, http.MethodGet, url, "Accept-Encoding", "gzip")
		if resp.StatusCode != status || len(body) > 0 || resp.Header.Get("Content-Encoding") != "" {
			t.Errorf("%d: %s %v", status, resp.Status, resp.Header)
		}
	}
	resp, _ := fetch(t, http.MethodGet, serveCompressed(t, func(http.ResponseWriter, *http.Request) {}), "Accept-Encoding", "gzip")
	if resp.StatusCode != http.StatusOK || resp.ContentLength != 0 {
		t.Errorf("silent handler: %s, length %d", resp.Status, resp.ContentLength)
	}
}

// Each flush brings the client all that was written before it.
func TestCompressWriterFlushes(t *testing.T) {
	t.Parallel()
	for _, with := range []coding{identity, gzipCoding, zstdCoding} {
		next := make(chan struct{})
		url := serveCompressed(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/x-ndjson")
			for range 3 {
				io.WriteString(w, "{}\n")
				if err := http.NewResponseController(w).Flush(); err != nil {
					t.Errorf("%s: flush: %v", with, err)
				}
				select {
				case <-next:
				case <-r.Context().Done():
					return
				}
			}
		})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		r, _ := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		r.Header.Set("Accept-Encoding", string(with))
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		var body io.Reader = resp.Body
		switch with {
		case gzipCoding:
			body, err = gzip.NewReader(body)
		case zstdCoding:
			var z *zstd.Decoder
			z, err = zstd.NewReader(body, zstd.WithDecoderConcurrency(1))
			defer z.Close()
			body = z
		}
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(body)
		for i := range 3 {
			if line, err := lines.ReadString('\n'); line != "{}\n" {
				t.Fatalf("%s: line %d: %q, %v", with, i, line, err)
			}
			next <- struct{}{}
		}
		if _, err := lines.ReadByte(); err != io.EOF {
			t.Errorf("%s: end: %v", with, err)
		}
		resp.Body.Close()
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}

// A client of a stream sees that it is open before there is an event.
func TestCompressWriterFlushSendsHeader(t *testing.T) {
	t.Parallel()
	url := serveCompressed(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Errorf("flush: %v", err)
		}
		<-r.Context().Done()
	})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	r, _ := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	r.Header.Set("Accept-Encoding", "gzip")
	transport := new(http.Transport)
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal("the header did not arrive: ", err)
	}
	resp.Body.Close()
}

func TestCompressWriterFlushBeforeBody(t *testing.T) {
	t.Parallel()
	url := serveCompressed(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.(http.Flusher).Flush()
		io.WriteString(w, long)
	})
	resp, body := fetch(t, http.MethodGet, url, "Accept-Encoding", "gzip")
	if resp.Header.Get("Content-Encoding") != "gzip" || decode(t, gzipCoding, body) != long {
		t.Errorf("%v", resp.Header)
	}
}

// What http.ResponseController offers works through the writer.
func TestCompressWriterController(t *testing.T) {
	t.Parallel()
	var wg sync.WaitGroup
	url := serveCompressed(t, func(w http.ResponseWriter, _ *http.Request) {
		c := http.NewResponseController(w)
		deadline := time.Now().Add(time.Minute)
		for name, err := range map[string]error{"read deadline": c.SetReadDeadline(deadline), "write deadline": c.SetWriteDeadline(deadline), "full duplex": c.EnableFullDuplex()} {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		conn, _, err := c.Hijack()
		if err != nil {
			t.Errorf("hijack: %v", err)
			return
		}
		wg.Go(func() {
			defer conn.Close()
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
		})
	})
	if _, body := fetch(t, http.MethodGet, url, "Accept-Encoding", "gzip"); string(body) != "hi" {
		t.Errorf("hijacked: %q", body)
	}
	wg.Wait()
}

func TestCompressWriterSendsInformation(t *testing.T) {
	t.Parallel()
	url := serveCompressed(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</a.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusNotFound)
		io.WriteString(w, long)
	})
	hints := 0
	ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{Got1xxResponse: func(code int, _ textproto.MIMEHeader) error {
		hints += code
		return nil
	}})
	r, _ := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	transport := new(http.Transport)
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); hints != http.StatusEarlyHints || resp.StatusCode != http.StatusNotFound || string(body) != long {
		t.Errorf("1xx: %d, then %s and %d bytes", hints, resp.Status, len(body))
	}
}

// The handler gets an error after the client disconnected, and the encoder returns to the pool
// reset.
func TestCompressWriterAfterTheClientLeft(t *testing.T) {
	t.Parallel()
	failed := make(chan bool, 1)
	url := serveCompressed(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, long)
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
		var err error
		for i := 0; err == nil && i < 1000; i++ {
			io.WriteString(w, long)
			err = http.NewResponseController(w).Flush()
		}
		failed <- err != nil
	})
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n")
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if !<-failed {
		t.Error("writing to nobody never failed")
	}
}

func BenchmarkCompressWriter(b *testing.B) {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Accept-Encoding", "gzip")
	body := []byte(long)
	b.ReportAllocs()
	for b.Loop() {
		w := newCompressWriter(httptest.NewRecorder(), r, 1024)
		w.Write(body)
		w.close()
	}
}
