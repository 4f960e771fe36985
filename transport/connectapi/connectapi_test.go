package connectapi_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/transport/connectapi"
	"github.com/chassi-go/chassi/transport/httpapi"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/emptypb"
)

type color int

func (color) EnumNames() map[int32]string { return map[int32]string{0: "None", 1: "Red"} }

type thing struct {
	ID    string `json:"-" path:"id"`
	Big   int64  `json:"big_number"`
	Color color  `json:"color"`
	Text  string `json:"text"`
}

type left struct {
	Left  int64 `json:"left"`
	Color color `json:"color"`
}

func (left) DetailName() string { return "shop.v1.Left" }

var errNone = chassi.NewError(chassi.FailedPrecondition, "out_of_stock", "There is none").WithRetryAfter(1500 * time.Millisecond).
	WithViolations(chassi.Violation{Field: "text", Message: "is unknown"}).WithDetails(left{Left: 1 << 60, Color: 1})

// shop has an endpoint with a route, and others without.
func shop() *chassi.Service {
	get := func(ctx context.Context, r *thing) (*thing, error) {
		call := chassi.CallFrom(ctx)
		call.Out.Set("Trailer-Cost", "7")
		if deadline, ok := ctx.Deadline(); ok && r.Text == "deadline" {
			return &thing{Big: int64(time.Until(deadline).Round(time.Hour) / time.Hour)}, nil
		}
		return r, nil
	}
	fail := func(context.Context, *struct{}) (*struct{}, error) { return nil, errNone }
	wait := func(ctx context.Context, _ *struct{}) (*struct{}, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return chassi.NewService("shop.v1.Shop",
		chassi.NewEndpoint("Get", get, chassi.Route("POST /v1/things/{id}"), chassi.Public, chassi.Status(201), chassi.CacheFor(time.Hour)),
		chassi.NewEndpoint("Fail", fail, chassi.Public, chassi.Errors(errNone)),
		chassi.NewEndpoint("Wait", wait, chassi.Public),
		chassi.NewEndpoint("Small", get, chassi.Public, chassi.MaxBody(100)),
		chassi.NewEndpoint("Mine", fail),
	)
}

type request struct {
	method, path, body string // by default POST and Get
	header             []string
}

// ask sends a request in JSON, unless its headers say otherwise.
func ask(t testing.TB, url string, r request) (*http.Response, string) {
	t.Helper()
	if r.method == "" {
		r.method = http.MethodPost
	}
	if r.path == "" {
		r.path = "/shop.v1.Shop/Get"
	}
	h, err := http.NewRequestWithContext(t.Context(), r.method, url+r.path, strings.NewReader(r.body))
	if err != nil {
		t.Fatal(err)
	}
	h.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(r.header); i += 2 {
		h.Header.Set(r.header[i], r.header[i+1])
	}
	response, err := httpClient(t, false).Do(h)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(body)
}

func TestProtocol(t *testing.T) {
	t.Parallel()
	url := serve(t, httpapi.Config{MaxBodyBytes: 4 << 10, MaxJSONDepth: 8}, shop())
	const success = `{"ID":"a","big_number":"9007199254740993","color":"COLOR_RED"}`
	long := `{"text":"` + strings.Repeat("x", 5<<10) + `"}`
	for name, c := range map[string]struct {
		request
		status int
		want   string // the body, or the code of an error
	}{
		"numbers":           {request{body: `{"ID":"a","big_number":9007199254740993,"color":1}`}, 200, success},
		"strings":           {request{body: `{"id":"a","bigNumber":"1"}`}, 400, "invalid_argument"},
		"proto names":       {request{body: `{"id":"a","big_number":"9007199254740993","color":"COLOR_RED"}`}, 200, success},
		"charset":           {request{body: `{}`, header: []string{"Content-Type", "application/json; charset=UTF-8"}}, 200, "{}"},
		"other charset":     {request{body: `{}`, header: []string{"Content-Type", "application/json; charset=latin1"}}, 415, ""},
		"empty":             {request{}, 200, "{}"},
		"proto":             {request{header: []string{"Content-Type", "application/proto"}, body: "\x10\x05\xf8\x07\x01"}, 200, "\x10\x05"},
		"broken proto":      {request{header: []string{"Content-Type", "application/proto"}, body: "\x10"}, 400, "invalid_argument"},
		"gzip":              {request{header: []string{"Content-Encoding", "gzip"}, body: zipped(t, `{"big_number":1}`)}, 200, `{"big_number":"1"}`},
		"GZIP":              {request{header: []string{"Content-Encoding", "GZIP"}, body: zipped(t, `{}`)}, 200, `{}`},
		"identity":          {request{header: []string{"Content-Encoding", "identity"}, body: `{}`}, 200, `{}`},
		"empty gzip":        {request{header: []string{"Content-Encoding", "gzip"}}, 200, `{}`},
		"broken gzip":       {request{header: []string{"Content-Encoding", "gzip"}, body: `{}`}, 400, "invalid_argument"},
		"cut gzip":          {request{header: []string{"Content-Encoding", "gzip"}, body: zipped(t, `{"text":"abcdefghijk"}`)[:25]}, 400, "invalid_argument"},
		"gzip bomb":         {request{header: []string{"Content-Encoding", "gzip"}, body: zipped(t, long)}, 429, "resource_exhausted"},
		"empty members":     {request{header: []string{"Content-Encoding", "gzip"}, body: strings.Repeat(zipped(t, ""), 1000)}, 429, "resource_exhausted"},
		"br":                {request{header: []string{"Content-Encoding", "br"}, body: `{}`}, 501, "unimplemented"},
		"long":              {request{body: long}, 429, "resource_exhausted"},
		"long for this one": {request{path: "/shop.v1.Shop/Small", body: `{"text":"` + strings.Repeat("x", 100) + `"}`}, 429, "resource_exhausted"},
		"deep":              {request{body: strings.Repeat("[", 1000)}, 400, "invalid_argument"},
		"text":              {request{header: []string{"Content-Type", "text/plain"}}, 415, ""},
		"streaming":         {request{header: []string{"Content-Type", "application/connect+json"}}, 415, ""},
		"gRPC":              {request{header: []string{"Content-Type", "application/grpc"}}, 415, ""},
		"version 1":         {request{body: `{}`, header: []string{"Connect-Protocol-Version", "1"}}, 200, `{}`},
		"version 2":         {request{body: `{}`, header: []string{"Connect-Protocol-Version", "2"}}, 400, "invalid_argument"},
		"timeout":           {request{body: `{"text":"deadline"}`, header: []string{"Connect-Timeout-Ms", "7200000"}}, 200, `{"big_number":"2"}`},
		"shorter of two":    {request{body: `{"text":"deadline"}`, header: []string{"Connect-Timeout-Ms", "7200000", "X-Request-Timeout-Ms", "3600000"}}, 200, `{"big_number":"1"}`},
		"timeout passed":    {request{path: "/shop.v1.Shop/Wait", body: `{}`, header: []string{"Connect-Timeout-Ms", "1"}}, 504, "deadline_exceeded"},
		"timeout 0":         {request{body: `{}`, header: []string{"Connect-Timeout-Ms", "0"}}, 400, "invalid_argument"},
		"timeout too long":  {request{body: `{}`, header: []string{"Connect-Timeout-Ms", "10000000000"}}, 400, "invalid_argument"},
		"timeout no number": {request{body: `{}`, header: []string{"Connect-Timeout-Ms", "+5"}}, 400, "invalid_argument"},
		"no route":          {request{path: "/shop.v1.Shop/Fail", body: `{}`}, 400, "failed_precondition"},
		"policy":            {request{path: "/shop.v1.Shop/Mine", body: `{}`}, 401, "unauthenticated"},
		"unknown method":    {request{path: "/shop.v1.Shop/None", body: `{}`}, 404, ""},
		"GET":               {request{method: http.MethodGet, path: "/shop.v1.Shop/Get?message=%7B%7D&encoding=json"}, 405, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			response, body := ask(t, url, c.request)
			if response.StatusCode != c.status {
				t.Errorf("%d %s, want %d", response.StatusCode, body, c.status)
			}
			media := response.Header.Get("Content-Type")
			switch {
			case c.status == 404 || c.status == 405 || c.status == 415:
				if media != "application/problem+json" {
					t.Errorf("%s", media)
				}
			case c.status != 200:
				var e struct{ Code, Message string }
				if err := json.Unmarshal([]byte(body), &e); err != nil || media != "application/json" || e.Code != c.want || e.Message == "" {
					t.Errorf("%s %s, want %s", media, body, c.want)
				}
			case body != c.want:
				t.Errorf("%q, want %q", body, c.want)
			case media != strings.ReplaceAll(response.Request.Header.Get("Content-Type"), "; charset=UTF-8", "") || response.Header.Get("Trailer-Cost") != "7" || response.Header.Get("Cache-Control") != "no-store":
				t.Errorf("%v", response.Header)
			}
			for header, status := range map[string]int{"Allow": 405, "Accept-Post": 415, "Accept-Encoding": 501, "Www-Authenticate": 401} {
				if got := response.Header.Get(header); (got != "") != (response.StatusCode == status) || header == "Allow" && got != "" && got != "OPTIONS, POST" {
					t.Errorf("%s: %q", header, got)
				}
			}
		})
	}
}

// The error has the details of gRPC in base64 without padding, and for people in JSON.
func TestError(t *testing.T) {
	t.Parallel()
	response, body := ask(t, serve(t, httpapi.Config{}, shop()), request{path: "/shop.v1.Shop/Fail", body: `{}`})
	const want = `{"code":"failed_precondition","message":"There is none","details":[` +
		`{"type":"google.rpc.ErrorInfo","value":"CgxvdXRfb2Zfc3RvY2sSDHNob3AudjEuU2hvcA","debug":{"reason":"out_of_stock","domain":"shop.v1.Shop"}},` +
		`{"type":"google.rpc.RetryInfo","value":"CggIARCAyrXuAQ","debug":{"retryDelay":"1.500s"}},` +
		`{"type":"google.rpc.BadRequest","value":"ChIKBHRleHQSCmlzIHVua25vd24","debug":{"fieldViolations":[{"field":"text","description":"is unknown"}]}},` +
		`{"type":"shop.v1.Left","value":"CICAgICAgICAEBAB","debug":{"left":"1152921504606846976","color":"COLOR_RED"}}]}`
	if body != want || response.Header.Get("Retry-After") != "2" {
		t.Errorf("%v\n%s, want\n%s", response.Header, body, want)
	}
}

func TestCompressedResponse(t *testing.T) {
	t.Parallel()
	url := serve(t, httpapi.Config{}, shop())
	for _, media := range []string{"application/json", "application/proto"} {
		body := `{"text":"` + strings.Repeat("x", 2000) + `"}`
		if media == "application/proto" {
			body = "\x22\xd0\x0f" + strings.Repeat("x", 2000)
		}
		response, got := ask(t, url, request{body: body, header: []string{"Accept-Encoding", "gzip", "Content-Type", media}})
		if response.Header.Get("Content-Encoding") != "gzip" || len(got) > 200 {
			t.Errorf("%s: %v, %d bytes", media, response.Header, len(got))
		}
	}
}

func TestOffByDefault(t *testing.T) {
	t.Parallel()
	s, err := httpapi.New(httpapi.Config{ConnectCodec: connectapi.New()})
	if err == nil {
		err = s.Mount(shop())
	}
	if err != nil {
		t.Fatal(err)
	}
	w := recorder{header: make(http.Header)}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "/shop.v1.Shop/Fail", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if s.ServeHTTP(&w, r); w.status != http.StatusNotFound {
		t.Errorf("%d", w.status)
	}
	if _, err := httpapi.New(httpapi.Config{Connect: true}); err == nil || !strings.Contains(err.Error(), "connectapi.New()") {
		t.Errorf("without a codec: %v", err)
	}
}

type recorder struct {
	header http.Header
	status int
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(b []byte) (int, error) { return len(b), nil }

// What cannot be served is refused when it is mounted.
func TestMountRefuses(t *testing.T) {
	t.Parallel()
	type odd struct{ Any any }
	echo := func(_ context.Context, r *odd) (*odd, error) { return r, nil }
	s, err := httpapi.New(httpapi.Config{Connect: true, ConnectCodec: connectapi.New()})
	if err != nil {
		t.Fatal(err)
	}
	err = s.Mount(chassi.NewService("odd.v1.Odd", chassi.NewEndpoint("Do", echo, chassi.Public)))
	if err == nil || !strings.Contains(err.Error(), "odd.v1.Odd/Do") || !strings.Contains(err.Error(), "any cannot be in a message") && !strings.Contains(err.Error(), "interface {} cannot be in a message") {
		t.Error(err)
	}
	if err := s.Handle("POST /shop.v1.Shop/Get", http.NotFoundHandler()); err != nil {
		t.Fatal(err)
	}
	if err := s.Mount(shop()); err == nil || !strings.Contains(err.Error(), "conflicts") {
		t.Error(err)
	}
}

// Files and http.Handlers are refused when they are mounted, and skipped where they are limited to
// other transports.
func TestMountRefusesFilesAndHandlers(t *testing.T) {
	t.Parallel()
	upload := func(context.Context, *struct{ File chassi.File }) (*struct{}, error) { return &struct{}{}, nil }
	mount := func(options ...chassi.EndpointOption) error {
		s, err := httpapi.New(httpapi.Config{Connect: true, ConnectCodec: connectapi.New()})
		if err != nil {
			t.Fatal(err)
		}
		return s.Mount(chassi.NewService("a.v1.A",
			chassi.NewEndpoint("Up", upload, append(options, chassi.Route("PUT /up"))...), httpapi.NewEndpoint("Page", "GET /page", http.NotFoundHandler(), options...)))
	}
	err := mount()
	for _, want := range []string{
		"httpapi: a.v1.A/Up: files are not supported over Connect (see chassi.Transports)",
		"a.v1.A/Page: HTTP endpoints are not supported over Connect (see chassi.Transports)",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if err := mount(chassi.Transports("http", "local")); err != nil {
		t.Error(err)
	}
}

// A field that a route sends as a header is an ordinary field; cookies and the status are left out.
func TestResponseFields(t *testing.T) {
	t.Parallel()
	type created struct {
		ID       string      `json:"id"`
		Location string      `json:"location" header:"Location"`
		Session  http.Cookie `json:"-" cookie:"session"`
		Status   int         `json:"-" status:"201"`
	}
	create := func(context.Context, *struct{}) (*created, error) {
		return &created{"7", "/things/7", http.Cookie{Value: "s"}, http.StatusCreated}, nil
	}
	url := serve(t, httpapi.Config{}, chassi.NewService("things.v1.Things", chassi.NewEndpoint("Create", create, chassi.Route("POST /things"), chassi.Public)))
	answer, body := ask(t, url, request{path: "/things.v1.Things/Create", body: "{}"})
	if h := answer.Header; answer.StatusCode != http.StatusOK || body != `{"id":"7","location":"/things/7"}` || h.Get("Location") != "" || h.Get("Set-Cookie") != "" {
		t.Errorf("%d %v %s", answer.StatusCode, h, body)
	}
}

// A client of the protocol understands what is not answered in its form.
func TestClientReadsRefusals(t *testing.T) {
	t.Parallel()
	url := serve(t, httpapi.Config{}, shop())
	for path, want := range map[string]connect.Code{"/shop.v1.Shop/None": connect.CodeUnimplemented, "/none.v1.None/None": connect.CodeUnimplemented, "/shop.v1.Shop/Mine": connect.CodeUnauthenticated} {
		_, err := connect.NewClient[emptypb.Empty, emptypb.Empty](httpClient(t, false), url+path).CallUnary(t.Context(), connect.NewRequest(new(emptypb.Empty)))
		if connect.CodeOf(err) != want {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
	}
}

// Pages of the configured origins may set the headers of the protocol.
func TestCORS(t *testing.T) {
	t.Parallel()
	preflight := request{method: http.MethodOptions, header: []string{
		"Origin", "https://app.example.com", "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "connect-protocol-version,connect-timeout-ms,content-type",
	}}
	for _, headers := range [][]string{nil, {"Content-Type"}} {
		url := serve(t, httpapi.Config{CORS: httpapi.CORS{Origins: []string{"https://app.example.com"}, Headers: headers}}, shop())
		if response, _ := ask(t, url, preflight); response.StatusCode != http.StatusNoContent || response.Header.Get("Access-Control-Allow-Headers") != "connect-protocol-version,connect-timeout-ms,content-type" {
			t.Errorf("%d %v", response.StatusCode, response.Header)
		}
	}
}

// FuzzRequest sends any body in any form: the server always responds, in the protocol's form.
func FuzzRequest(f *testing.F) {
	s, err := httpapi.New(httpapi.Config{Connect: true, ConnectCodec: connectapi.New(), MaxBodyBytes: 4 << 10})
	if err == nil {
		err = s.Mount(shop())
	}
	if err != nil {
		f.Fatal(err)
	}
	f.Add("application/json", "", `{"id":"a","big_number":"1","color":"COLOR_RED","text":"x"}`)
	f.Add("application/json; charset=utf-8", "gzip", zipped(f, `{}`))
	f.Add("application/proto", "gzip", zipped(f, "\x10\x05"))
	f.Add("application/proto", "identity", "\x10")
	f.Fuzz(func(t *testing.T, media, coding, body string) {
		w := recorder{header: make(http.Header)}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "/shop.v1.Shop/Get", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header["Content-Type"], r.Header["Content-Encoding"] = []string{media}, []string{coding}
		s.ServeHTTP(&w, r)
		switch w.status {
		case 200, 400, 415, 429, 501:
		default:
			t.Errorf("%d %v", w.status, w.header)
		}
		if got := w.header.Get("Content-Type"); (got == "application/problem+json") != (w.status == 415) || got != "application/problem+json" && got != "application/json" && got != "application/proto" {
			t.Errorf("%d %s", w.status, got)
		}
	})
}
