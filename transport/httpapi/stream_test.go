package httpapi_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/gzhttp"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/middleware"
	"github.com/chassi-go/chassi/transport"
	"github.com/chassi-go/chassi/transport/httpapi"
)

type watchRequest struct {
	Name  string `path:"name"`
	After string `header:"Last-Event-ID"`
	Count int    `query:"count"`
}

type tick struct {
	ID   string `json:"id" stream:"id"`
	Text string `json:"text"`
}

var errBroken = chassi.NewError(chassi.FailedPrecondition, "broken", "It broke").WithRetryAfter(2 * time.Second)

// feed is a service whose streams are named by what they do.
type feed struct {
	ended chan error // cause of the end of each context
	size  int
	taken chan struct{} // if not nil, receives a value before each further item
}

func (f *feed) watch(ctx context.Context, r *watchRequest) (iter.Seq2[*tick, error], error) {
	switch r.Name {
	case "absent":
		return nil, chassi.NewError(chassi.NotFound, "absent", "There is no such feed")
	case "empty":
		return nil, nil
	}
	return func(yield func(*tick, error) bool) {
		defer func() { f.ended <- context.Cause(ctx) }()
		after, _ := strconv.Atoi(r.After)
		for n := after + 1; r.Count == 0 || n <= r.Count; n++ {
			id := strconv.Itoa(n)
			if r.Name == "unnamed" {
				id = ""
			}
			if !yield(&tick{ID: id, Text: strings.Repeat("x", f.size)}, nil) {
				return
			}
			if r.Name == "deaf" {
				<-f.taken
				return
			}
			if f.taken != nil {
				select {
				case <-f.taken:
				case <-ctx.Done():
					return
				}
			}
			if r.Count == 0 && f.size == 0 {
				<-ctx.Done()
				return
			}
		}
		switch r.Name {
		case "breaks":
			yield(nil, errBroken)
		case "panics":
			panic("in an iterator")
		}
	}, nil
}

func streamServer(t *testing.T, c transport.StreamConfig, f *feed, options ...chassi.EndpointOption) *httpapi.Server {
	t.Helper()
	return streamServerWith(t, httpapi.Config{Streams: c}, f, nil, options...)
}

// streamServerWith serves f, with the HTTP middleware around unless it is nil.
func streamServerWith(t *testing.T, c httpapi.Config, f *feed, around func(http.Handler) http.Handler, options ...chassi.EndpointOption) *httpapi.Server {
	t.Helper()
	f.ended = make(chan error, 100)
	c.Addr, c.ReadTimeout, c.WriteTimeout, c.Logger = "127.0.0.1:0", 300*time.Millisecond, 300*time.Millisecond, slog.New(slog.DiscardHandler)
	server, err := httpapi.New(c, middleware.Recover(), middleware.Timeout(300*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	if around != nil {
		server.Use(around)
	}
	options = append(options, chassi.Route("GET /v1/feeds/{name}"), chassi.Public)
	if err := server.Mount(chassi.NewService("feeds.v1.Feeds", chassi.NewStream("Watch", f.watch, options...))); err != nil {
		t.Fatal(err)
	}
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := server.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return server
}

// openStream requests a stream as an event stream or as JSON Lines.
func openStream(t *testing.T, server *httpapi.Server, path, accept string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+server.Addr().String()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", accept)
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

func TestStreamFormats(t *testing.T) {
	t.Parallel()
	server := streamServer(t, transport.StreamConfig{}, new(feed))
	for _, c := range []struct {
		path, accept string
		status       int
		contentType  string
		body         string
	}{
		{"/v1/feeds/ends?count=2", "text/event-stream", 200, "text/event-stream", "id: 1\ndata: {\"id\":\"1\",\"text\":\"\"}\n\nid: 2\ndata: {\"id\":\"2\",\"text\":\"\"}\n\nevent: end\ndata: {}\n\n"},
		{"/v1/feeds/ends?count=2", "*/*", 200, "application/jsonl", "{\"item\":{\"id\":\"1\",\"text\":\"\"}}\n{\"item\":{\"id\":\"2\",\"text\":\"\"}}\n{\"end\":true}\n"},
		{"/v1/feeds/ends?count=1", "text/event-stream;q=0, */*", 200, "application/jsonl", "{\"item\":{\"id\":\"1\",\"text\":\"\"}}\n{\"end\":true}\n"},
		{"/v1/feeds/unnamed?count=1", "text/event-stream", 200, "text/event-stream", "data: {\"id\":\"\",\"text\":\"\"}\n\nevent: end\ndata: {}\n\n"},
		{"/v1/feeds/breaks?count=1", "*/*", 200, "application/jsonl", `"code":"failed_precondition","error":"broken","message":"It broke","retry_after_ms":2000}}` + "\n"},
		{"/v1/feeds/breaks?count=1", "text/event-stream", 200, "text/event-stream", "retry: 2000\nevent: error\ndata: {\"type\""},
		{"/v1/feeds/panics?count=1", "*/*", 200, "application/jsonl", `"code":"internal"`},
		{"/v1/feeds/absent", "text/event-stream", 404, "application/problem+json", `"error":"absent"`},
		{"/v1/feeds/empty", "text/event-stream", 204, "", ""},
		{"/v1/feeds/empty", "*/*", 204, "", ""},
	} {
		resp := openStream(t, server, c.path, c.accept)
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != c.status || resp.Header.Get("Content-Type") != c.contentType || !strings.Contains(string(body), c.body) || strings.Contains(string(body), "id: \n") {
			t.Errorf("%s %s: %d %v %v:\n%s", c.path, c.accept, resp.StatusCode, resp.Header, err, body)
		}
		if resp.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %v", c.path, resp.Header)
		}
	}
}

// The end of a stream does not wait for a body that does not come, though a stream lifts the deadline
// for reading.
func TestStreamWithAnUnreadBodyEnds(t *testing.T) {
	t.Parallel()
	server := streamServer(t, transport.StreamConfig{}, new(feed))
	for _, length := range []string{"10", "100000"} {
		conn, err := net.Dial("tcp", server.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		fmt.Fprintf(conn, "GET /v1/feeds/ends?count=1 HTTP/1.1\r\nHost: a\r\nContent-Length: %s\r\n\r\n", length)
		if text, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(text), "HTTP/1.1 200") {
			t.Errorf("a body of %s bytes: %s, %v", length, text, err)
		}
	}
}

// An idle stream outlives the timeouts of calls, and its heartbeats arrive.
func TestStreamHeartbeats(t *testing.T) {
	t.Parallel()
	f := new(feed)
	server := streamServer(t, transport.StreamConfig{Heartbeat: 100 * time.Millisecond}, f)
	for accept, beat := range map[string]string{"text/event-stream": "event: ping\n", "*/*": "{\"heartbeat\":true}\n"} {
		resp := openStream(t, server, "/v1/feeds/idle", accept)
		lines := bufio.NewReader(resp.Body)
		for n := 0; n < 8; { // longer than every timeout of the server
			line, err := lines.ReadString('\n')
			if err != nil {
				t.Fatalf("%s: %v after %d heartbeats", accept, err, n)
			}
			if line == beat {
				n++
			}
		}
		resp.Body.Close()
		if cause := <-f.ended; cause == nil {
			t.Errorf("%s: the iterator's context has no cause", accept)
		}
	}
}

// A stream whose connection ends before its last message is never complete for a client.
func TestStreamBreaksOff(t *testing.T) {
	t.Parallel()
	for name, response := range map[string]string{
		"after an item":  "{\"item\":{\"id\":\"1\",\"text\":\"\"}}\n",
		"within an item": "{\"item\":{\"id\":\"1\",\"te",
		"within the end": "{\"end\":true}",
		"at once":        "",
	} {
		for _, framing := range []string{"", "Content-Length: " + strconv.Itoa(len(response)) + "\r\n"} {
			l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = conn.Read(make([]byte, 4096))
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: application/jsonl\r\nConnection: close\r\n"+framing+"\r\n"+response)
				_ = conn.Close()
			}()
			_, err = receive(t, newStreamClient(t, l.Addr().String()), &watchRequest{Name: "x"})
			if !errors.Is(err, transport.ErrTruncated) {
				t.Errorf("%s: %v", name, err)
			}
			_ = l.Close()
		}
	}
}

func newStreamClient(t *testing.T, addr string) *client.Client {
	t.Helper()
	caller, err := httpapi.NewClient(httpapi.ClientConfig{URL: "http://" + addr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(caller.Close)
	c, err := client.New(chassi.NewService("feeds.v1.Feeds", chassi.NewStream("Watch", new(feed).watch, chassi.Route("GET /v1/feeds/{name}"), chassi.Public)), caller)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// receive returns the items of a stream and its error.
func receive(t *testing.T, c *client.Client, r *watchRequest) (items []*tick, err error) {
	t.Helper()
	all, err := client.Stream[tick](t.Context(), c, "Watch", r)
	if err != nil || all == nil {
		return nil, err
	}
	for item, err := range all {
		if err != nil {
			return items, err
		}
		items = append(items, item)
	}
	return items, nil
}

func TestStreamSilence(t *testing.T) {
	t.Parallel()
	server := http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/jsonl")
		w.Header().Set(transport.HeartbeatKey, "50")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error)
	go func() { served <- server.Serve(l) }()
	if _, err := receive(t, newStreamClient(t, l.Addr().String()), &watchRequest{Name: "x"}); !errors.Is(err, transport.ErrSilent) {
		t.Error(err)
	}
	_ = server.Close()
	<-served
}

// A client that does not read loses its stream, and the server's memory for it.
// The client of a stream that has ended does not wait for an iterator that does not return.
func TestStreamOfADeafIteratorFallsSilent(t *testing.T) {
	t.Parallel()
	f := &feed{taken: make(chan struct{})}
	server := streamServer(t, transport.StreamConfig{Heartbeat: 100 * time.Millisecond, MaxAge: time.Second}, f)
	end := sync.OnceFunc(func() { close(f.taken) })
	t.Cleanup(end) // before the server is stopped
	defer time.AfterFunc(20*time.Second, end).Stop()
	if _, err := receive(t, newStreamClient(t, server.Addr().String()), &watchRequest{Name: "deaf"}); !errors.Is(err, transport.ErrSilent) {
		t.Error(err)
	}
}

func TestStreamStalls(t *testing.T) {
	t.Parallel()
	f := &feed{size: 64 << 10}
	server := streamServer(t, transport.StreamConfig{SendTimeout: 200 * time.Millisecond}, f)
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "GET /v1/feeds/large HTTP/1.1\r\nHost: x\r\n\r\n")
	select {
	case <-f.ended: // yield returned false
	case <-time.After(30 * time.Second):
		t.Error("the stream goes on")
	}
}

func TestStreamLimitsAndStop(t *testing.T) {
	t.Parallel()
	f := new(feed)
	server := streamServer(t, transport.StreamConfig{MaxPeer: 2}, f)
	first, second := openStream(t, server, "/v1/feeds/idle", "text/event-stream"), openStream(t, server, "/v1/feeds/idle", "*/*")
	if third := openStream(t, server, "/v1/feeds/idle", "*/*"); third.StatusCode != http.StatusTooManyRequests {
		t.Errorf("a third stream has the status %d", third.StatusCode)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	go func() { _ = server.Stop(ctx) }()
	for resp, want := range map[*http.Response][]string{first: {"event: error\n", `"error":"stopping"`, "retry: "}, second: {`{"error":{`, `"error":"stopping"`, `"retry_after_ms":`}} {
		body, err := io.ReadAll(resp.Body)
		for _, part := range want {
			if err != nil || !strings.Contains(string(body), part) || strings.Contains(string(body), "event: end") {
				t.Errorf("%v, want %s:\n%s", err, part, body)
			}
		}
	}
}

// Each item arrives before the next one is made, also where responses are compressed: by the
// server, which does not compress streams, or by an HTTP middleware, which flushes.
func TestStreamThroughCompression(t *testing.T) {
	t.Parallel()
	for name, around := range map[string]func(http.Handler) http.Handler{"the server's own": nil, "middleware": func(h http.Handler) http.Handler { return gzhttp.GzipHandler(h) }} {
		for _, accept := range []string{"text/event-stream", "*/*"} {
			f := &feed{taken: make(chan struct{})}
			server := streamServerWith(t, httpapi.Config{CompressMinBytes: 1}, f, around)
			resp := openStream(t, server, "/v1/feeds/one-by-one?count=5", accept) // with Accept-Encoding: gzip
			lines := bufio.NewReader(resp.Body)
			for n := 1; n <= 5; {
				line, err := lines.ReadString('\n')
				if err != nil {
					t.Fatalf("%s, %s: %v after %d items", name, accept, err, n-1)
				}
				if strings.Contains(line, fmt.Sprintf(`{"id":"%d"`, n)) {
					f.taken <- struct{}{}
					n++
				}
			}
			if compressed := around != nil; resp.Uncompressed != compressed {
				t.Errorf("%s, %s: compressed: %v", name, accept, resp.Uncompressed)
			}
		}
	}
}

// Items would stay in the buffer of a writer that cannot be flushed: this is the error of the call.
func TestStreamThatCannotBeFlushed(t *testing.T) {
	t.Parallel()
	server := streamServerWith(t, httpapi.Config{}, new(feed), func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(struct{ http.ResponseWriter }{w}, r) })
	})
	if resp := openStream(t, server, "/v1/feeds/ends?count=1", "*/*"); resp.StatusCode != http.StatusInternalServerError {
		t.Errorf("status %d", resp.StatusCode)
	}
}

func TestStreamsThatCannotBeMounted(t *testing.T) {
	t.Parallel()
	type number struct {
		ID int `stream:"id"`
	}
	server, err := httpapi.New(httpapi.Config{})
	if err != nil {
		t.Fatal(err)
	}
	e := chassi.NewStream("Watch", func(context.Context, *struct{}) (iter.Seq2[*number, error], error) { return nil, nil }, chassi.Route("GET /v1/x"), chassi.Public)
	if err := server.Mount(chassi.NewService("x.v1.X", e)); err == nil || !strings.Contains(err.Error(), `stream:"id"`) {
		t.Error(err)
	}
}

// Whatever a server sends, reading it ends, and only a message that says so completes a stream.
func FuzzReadStream(f *testing.F) {
	for _, seed := range []string{
		"{\"item\":{\"id\":\"1\"}}\n{\"heartbeat\":true}\n{\"end\":true}\n", "{\"error\":{\"code\":\"internal\",\"error\":\"x\"}}\n", "{\"end\":true}", "{}\n", "null\n",
		"id: 1\ndata: {\"id\":\"1\"}\n\nevent: end\ndata: {}\n\n", ": comment\n\nevent: error\ndata: {\ndata: }\n\n", "event:end\r\ndata\r\n\r\n", "data: {}\n",
	} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	e := chassi.NewStream("Watch", new(feed).watch, chassi.Public)
	f.Fuzz(func(t *testing.T, data string, events bool) {
		items, complete := httpapi.ReadStream(e, events, []byte(data), 1000)
		if complete && !strings.Contains(data, "end") || items > strings.Count(data, "\n") {
			t.Errorf("%d items, complete: %v", items, complete)
		}
	})
}
