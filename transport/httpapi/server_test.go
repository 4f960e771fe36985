package httpapi

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/transport"
)

type echoRequest struct {
	Text string   `json:"text"`
	Tags []string `json:"tags"`
	N    int64    `json:"n"`
}

type echoResponse struct {
	Text string `json:"text"`
}

type thingRequest struct {
	ID    string        `json:"id" path:"id"`
	Limit *int          `json:"limit" query:"limit"`
	Tags  []string      `json:"tags" query:"tag"`
	Wait  time.Duration `json:"wait" query:"wait"`
}

var errThing = chassi.NewError(chassi.NotFound, "no_thing", "No such thing")

// serveTest starts a server on a free port and returns its URL.
func serveTest(t *testing.T, c Config, mount func(*Server), middleware ...chassi.Middleware) string {
	t.Helper()
	c.Addr = "127.0.0.1:0"
	s, err := New(c, middleware...)
	if err != nil {
		t.Fatal(err)
	}
	service := chassi.NewService("test.v1.Test",
		chassi.NewEndpoint("Echo", func(_ context.Context, r *echoRequest) (*echoResponse, error) {
			return &echoResponse{Text: r.Text}, nil
		}, chassi.Route("POST /echo"), chassi.Public),
		chassi.NewEndpoint("Closed", func(_ context.Context, r *echoRequest) (*echoResponse, error) {
			return &echoResponse{Text: r.Text}, nil
		}, chassi.Route("POST /closed")),
		chassi.NewEndpoint("Thing", func(_ context.Context, r *thingRequest) (*echoResponse, error) {
			if r.ID == "none" {
				return nil, errThing.WithCause(errors.New("canary")).WithRetryAfter(1500 * time.Millisecond)
			}
			limit := -1
			if r.Limit != nil {
				limit = *r.Limit
			}
			return &echoResponse{Text: fmt.Sprint(r.ID, " ", limit, " ", r.Tags, " ", r.Wait)}, nil
		}, chassi.Route("GET /things/{id}"), chassi.Public),
		chassi.NewEndpoint("Fault", func(context.Context, *struct{}) (*echoResponse, error) {
			return nil, errors.New("canary")
		}, chassi.Route("GET /fault"), chassi.Public),
	)
	if err := s.Mount(service); err != nil {
		t.Fatal(err)
	}
	if mount != nil {
		mount(s)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return "http://" + s.Addr().String()
}

func ask(t *testing.T, method, url, body string, header ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Close = true
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(text)
}

func TestEveryCodeHasAStatus(t *testing.T) {
	t.Parallel()
	for _, code := range chassi.Codes() {
		if transport.HTTPStatus(code) < 400 {
			t.Errorf("%v has no status", code)
		}
	}
}

func TestProblemHidesTheCause(t *testing.T) {
	t.Parallel()
	url := serveTest(t, Config{}, nil)
	for path, want := range map[string]struct {
		status        int
		reason, retry string
	}{
		"/things/none": {404, "no_thing", "2"},
		"/fault":       {500, "internal", ""},
		"/nowhere":     {404, "no_such_path", ""},
	} {
		response, body := ask(t, "GET", url+path, "")
		var p problem
		if err := json.Unmarshal([]byte(body), &p); err != nil {
			t.Fatalf("%s: %v in %s", path, err, body)
		}
		if response.StatusCode != want.status || p.Status != want.status || p.Error != want.reason || p.Detail != p.Message || p.Instance == "" ||
			response.Header.Get("Content-Type") != "application/problem+json" || response.Header.Get("Retry-After") != want.retry {
			t.Errorf("%s: %d %v %s", path, response.StatusCode, response.Header, body)
		}
		if strings.Contains(body, "canary") {
			t.Errorf("%s shows its cause: %s", path, body)
		}
	}
}

// Fault 13: strict JSON, with the field named.
func TestT47MalformedBodies(t *testing.T) {
	t.Parallel()
	url := serveTest(t, Config{}, nil) + "/echo"
	for name, c := range map[string]struct {
		body, want string
		status     int
	}{
		"good":           {`{"text":"x","tags":["a"],"n":1}`, `{"text":"x"}`, 200},
		"empty":          {` `, "empty", 400},
		"not JSON":       {`text=x`, "JSON object", 400},
		"array":          {`[]`, "JSON object", 400},
		"null":           {`null`, "JSON object", 400},
		"cut off":        {`{"text":`, "not valid JSON", 400},
		"trailing data":  {`{"text":"x"} {}`, "not valid JSON", 400},
		"duplicate":      {`{"text":"x","text":"y"}`, `"field":"text","message":"is given twice"`, 400},
		"unknown":        {`{"texts":"x"}`, `"field":"texts","message":"is not a known member"`, 400},
		"wrong case":     {`{"Text":"x"}`, `"field":"Text","message":"is not a known member"`, 400},
		"wrong type":     {`{"text":1}`, `"field":"text","message":"cannot be a JSON number"`, 400},
		"in a list":      {`{"tags":["a",{}]}`, `"field":"tags[1]"`, 400},
		"invalid UTF-8":  {"{\"text\":\"\xff\"}", "not valid JSON", 400},
		"lone surrogate": {`{"text":"\ud800"}`, "not valid JSON", 400},
		"NaN":            {`{"n":NaN}`, "not valid JSON", 400},
		"2^63":           {`{"n":9223372036854775808}`, `"field":"n"`, 400},
		"fraction":       {`{"n":1.5}`, `"field":"n"`, 400},
		"deep":           {strings.Repeat(`{"a":`, 10_000), "nests deeper than 64 levels", 400},
	} {
		response, body := ask(t, "POST", url, c.body)
		if response.StatusCode != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s: %d %.300s, want %d with %s", name, response.StatusCode, body, c.status, c.want)
		}
	}
	// Read while writing: the rest of the body is not taken, and the connection ends.
	const head = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2097163\r\n\r\n"
	large := head + `{"text":"` + strings.Repeat("x", 2<<20) + `"}`
	if response := talk(t, strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/echo"), large); !strings.HasPrefix(response, "HTTP/1.1 413") || !strings.Contains(response, "larger than 1048576 bytes") {
		t.Errorf("large: %.300q", response)
	}
	for _, header := range [][]string{{"Content-Type", "text/plain"}, {"Content-Type", "application/json; charset=latin1"}, {"Content-Encoding", "gzip"}} {
		if response, body := ask(t, "POST", url, `{"text":"x"}`, header...); response.StatusCode != http.StatusUnsupportedMediaType {
			t.Errorf("%v: %d %s", header, response.StatusCode, body)
		}
	}
}

// A call that is refused is answered though its body never ends.
func TestRefusedCallsDoNotReadTheBody(t *testing.T) {
	t.Parallel()
	url := serveTest(t, Config{}, nil)
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const endless = "POST /closed HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"tex"
	if _, err := io.WriteString(conn, endless); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(4 * time.Second)); err != nil { // well below ReadTimeout
		t.Fatal(err)
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || !strings.Contains(line, "401") {
		t.Errorf("response %q, %v; want 401 at once", line, err)
	}
}

func TestParameters(t *testing.T) {
	t.Parallel()
	url := serveTest(t, Config{}, nil)
	for path, want := range map[string]string{
		"/things/a": `"a -1 [] 0s"`,
		"/things/a%20b?limit=5&tag=x&tag=y&wait=2s": `"a b 5 [x y] 2s"`,
		"/things/a?limit=many":                      `"field":"limit","message":"must be a whole number`,
		"/things/a?limit=1&limit=2":                 `"must be given once, not 2 times"`,
		"/things/a?lmit=1":                          `"field":"lmit","message":"is not a known query parameter"`,
		"/things/a?wait=soon&limit=x":               `"field":"wait"`,
	} {
		if _, body := ask(t, "GET", url+path, ""); !strings.Contains(body, want) {
			t.Errorf("%s: %s, want %s", path, body, want)
		}
	}
}

func TestT48MethodsAndPaths(t *testing.T) {
	t.Parallel()
	url := serveTest(t, Config{}, nil)
	response, _ := ask(t, "GET", url+"/echo", "")
	if response.StatusCode != http.StatusMethodNotAllowed || response.Header.Get("Allow") != "OPTIONS, POST" {
		t.Errorf("GET /echo: %d, Allow %q", response.StatusCode, response.Header.Get("Allow"))
	}
	response, _ = ask(t, "OPTIONS", url+"/things/a", "")
	if response.StatusCode != http.StatusNoContent || response.Header.Get("Allow") != "GET, HEAD, OPTIONS" {
		t.Errorf("OPTIONS: %d, Allow %q", response.StatusCode, response.Header.Get("Allow"))
	}
	if response, body := ask(t, "HEAD", url+"/things/a", ""); response.StatusCode != http.StatusOK || body != "" {
		t.Errorf("HEAD: %d %q", response.StatusCode, body)
	}
	for _, path := range []string{"//echo", "/./echo", "/x/../echo", "/echo/", "/echo;x", "/%65cho%2f", "/things%2fa", "/echo%00"} {
		response, body := ask(t, "POST", url+path, `{"text":"x"}`)
		if response.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %d %s, want 404", path, response.StatusCode, body)
		}
	}
}

func TestRequestIDIsReturned(t *testing.T) {
	t.Parallel()
	url := serveTest(t, Config{}, nil) + "/things/a"
	if response, _ := ask(t, "GET", url, "", "X-Request-Id", "given-id-0123"); response.Header.Get("X-Request-ID") != "given-id-0123" {
		t.Errorf("given id became %q", response.Header.Get("X-Request-ID"))
	}
	if response, _ := ask(t, "GET", url, "", "X-Request-Id", "bad id"); len(response.Header.Get("X-Request-ID")) < 16 {
		t.Errorf("bad id became %q", response.Header.Get("X-Request-ID"))
	}
}

// A response whose head was sent by Flush is the handler's: an error of a middleware is not
// written behind it.
func TestErrorAfterFlush(t *testing.T) {
	t.Parallel()
	fail := func(_ *chassi.Binding, next chassi.Handler) chassi.Handler {
		return func(ctx context.Context, call *chassi.Call) error {
			return errors.Join(next(ctx, call), errors.New("canary"))
		}
	}
	url := serveTest(t, Config{}, func(s *Server) {
		flush := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush() })
		if err := s.Handle("GET /flush", flush, chassi.Public); err != nil {
			t.Error(err)
		}
	}, fail)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/flush", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, err := io.ReadAll(response.Body); response.StatusCode != http.StatusOK || err != nil || len(body) > 0 {
		t.Errorf("%d, %q, %v; want 200 and no body", response.StatusCode, body, err)
	}
}

func TestMountedHandlers(t *testing.T) {
	t.Parallel()
	var statuses []int
	watch := func(b *chassi.Binding, next chassi.Handler) chassi.Handler {
		return func(ctx context.Context, call *chassi.Call) (err error) {
			defer func() { statuses = append(statuses, b.Status(call, err)) }()
			defer func() {
				if v := recover(); v != nil {
					err = chassi.Recovered(v)
				}
			}()
			return next(ctx, call)
		}
	}
	url := serveTest(t, Config{}, func(s *Server) {
		for pattern, f := range map[string]http.HandlerFunc{
			"GET /teapot": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "short", http.StatusTeapot) },
			"GET /panic":  func(http.ResponseWriter, *http.Request) { panic("canary") },
			"GET /half": func(w http.ResponseWriter, _ *http.Request) {
				_, _ = fmt.Fprint(w, "half a response")
				panic("canary")
			},
			"GET /control": func(w http.ResponseWriter, _ *http.Request) {
				rc := http.NewResponseController(w)
				err := errors.Join(rc.SetWriteDeadline(time.Now().Add(time.Second)), rc.Flush())
				_, _ = fmt.Fprint(w, err)
			},
		} {
			if err := s.Handle(pattern, f, chassi.Public); err != nil {
				t.Error(err)
			}
		}
		if err := s.Handle("GET /locked", http.NotFoundHandler()); err != nil {
			t.Error(err)
		}
		if err := s.Handle("GET /teapot", http.NotFoundHandler()); err == nil {
			t.Error("one pattern twice is no error")
		}
	}, watch)
	for _, c := range []struct {
		path   string
		status int
		want   string
	}{{"/teapot", 418, "short"}, {"/panic", 500, "Internal error"}, {"/half", 500, "Internal error"}, {"/control", 200, "<nil>"}, {"/locked", 401, "credentials"}} {
		statuses = nil
		response, body := ask(t, "GET", url+c.path, "")
		if response.StatusCode != c.status || !strings.Contains(body, c.want) || len(statuses) != 1 || statuses[0] != c.status {
			t.Errorf("%s: %d %s, middleware saw %v, want %d %s", c.path, response.StatusCode, body, statuses, c.status, c.want)
		}
	}
}

// HTTP/2 without TLS is spoken when asked for, and only then.
func TestH2C(t *testing.T) {
	t.Parallel()
	for _, on := range []bool{true, false} {
		url := serveTest(t, Config{H2C: on}, nil)
		transport := &http.Transport{Protocols: new(http.Protocols)}
		transport.Protocols.SetUnencryptedHTTP2(true)
		client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
		response, err := client.Post(url+"/echo", "application/json", strings.NewReader(`{"text":"x"}`))
		if !on {
			if err == nil {
				response.Body.Close()
				t.Error("HTTP/2 although it is off")
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(response.Body)
		response.Body.Close()
		transport.CloseIdleConnections()
		if response.ProtoMajor != 2 || string(body) != `{"text":"x"}` || response.Header.Get("X-Request-ID") == "" {
			t.Errorf("%s %s", response.Proto, body)
		}
	}
}
