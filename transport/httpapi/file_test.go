package httpapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/middleware"
)

type (
	upload struct {
		ID      string      `json:"-" path:"id"`
		Comment string      `json:"comment"`
		File    chassi.File `json:"file"`
	}
	rawUpload struct {
		File chassi.File `json:"file"`
	}
	stored struct {
		Name    string `json:"name"`
		Type    string `json:"type"`
		Comment string `json:"comment"`
		Text    string `json:"text"`
		Size    int64  `json:"size"`
	}
	wanted struct {
		Name  string `json:"-" path:"name"`
		Range string `json:"-" header:"Range"`
	}
	found struct {
		File chassi.File `json:"file"`
	}
)

// disk has a file that counts how often it is closed.
type disk struct {
	content []byte
	closed  atomic.Int64
}

type diskFile struct {
	*bytes.Reader
	disk *disk
}

func (f diskFile) Close() error { f.disk.closed.Add(1); return nil }

var modified = time.Date(2026, 11, 1, 10, 0, 0, 0, time.UTC)

func (d *disk) get(_ context.Context, r *wanted) (*found, error) {
	f := chassi.File{Reader: diskFile{bytes.NewReader(d.content), d}, Name: "naïve \"1\".txt", Type: "text/plain", ETag: "v1", ModTime: modified}
	switch r.Name {
	case "stream":
		f.Reader = struct {
			io.Reader
			io.Closer
		}{f.Reader, f.Reader.(io.Closer)}
	case "short":
		f.Reader, f.Size = io.MultiReader(bytes.NewReader(d.content)), int64(len(d.content))+1
	case "panic":
		f.Reader = io.MultiReader(bytes.NewReader(d.content), panicking{})
	case "broken":
		f.Reader = io.MultiReader(bytes.NewReader(d.content), broken{})
	case "panics":
		f.Reader = panicking{}
	case "breaks":
		f.Reader = broken{}
	case "missing":
		f.Reader = struct {
			broken
			io.Seeker
		}{broken{}, bytes.NewReader(d.content)}
	case "empty":
		f.Reader, f.Size = strings.NewReader(""), 1
	case "shorter":
		f.Reader, f.Size = io.MultiReader(), 1
	case "longer":
		f.Reader, f.Size = io.MultiReader(strings.NewReader("xx")), 1
	case "none":
		f.Reader = nil
	}
	return &found{File: f}, nil
}

type panicking struct{}

func (panicking) Read([]byte) (int, error) { panic("while copying") }

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("the disk is broken") }

func store(_ context.Context, r *upload) (*stored, error) {
	if r.ID == "unread" {
		return &stored{}, nil
	}
	text, err := io.ReadAll(r.File.Reader)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	return &stored{Name: r.File.Name, Type: r.File.Type, Comment: r.Comment, Text: string(text), Size: r.File.Size}, nil
}

// fileServer serves the endpoints of files.
func fileServer(t *testing.T, d *disk, options ...chassi.EndpointOption) (*Server, *chassi.Service, string) {
	t.Helper()
	s, err := New(Config{Addr: "127.0.0.1:0", ReadTimeout: time.Minute}, middleware.Recover())
	if err != nil {
		t.Fatal(err)
	}
	service := chassi.NewService("files.v1.Files",
		chassi.NewEndpoint("Get", d.get, chassi.Route("GET /files/{name}"), chassi.Public),
		chassi.NewEndpoint("Put", store, append(options, chassi.Route("PUT /files/{id}"), chassi.Public)...),
		chassi.NewEndpoint("Raw", func(ctx context.Context, r *rawUpload) (*stored, error) { return store(ctx, &upload{File: r.File}) }, chassi.Route("POST /raw"), chassi.Public))
	if err := s.Mount(service); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s, service, "http://" + s.Addr().String()
}

func exchangeFile(t *testing.T, method, url string, header http.Header, body io.Reader) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(r.Header, header)
	response, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return response, "cut: " + string(text)
	}
	return response, string(text)
}

// Each response is that of http.ServeContent, for conditions of all kinds and the ranges that it
// serves as RFC 9110 requires.
func TestDownloadRespondsAsServeContent(t *testing.T) {
	t.Parallel()
	d := &disk{content: []byte("0123456789abcdefghij")}
	_, _, base := fileServer(t, d)
	reference := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("ETag", `"v1"`)
		http.ServeContent(w, r, "", modified, bytes.NewReader(d.content))
	}))
	defer reference.Close()
	ranges := []string{"", "bytes=0-4", "bytes=5-", "bytes=-3", "bytes=0-0,5-6", "bytes=30-", "bytes=4-2", "bytes=x", "bytes=0-100", "bytes=-100",
		"bytes=", "bytes=,", "bytes=-", "bytes=--1", "bytes=0", "bytes=0-4,", "bytes=0-4,x", "bytes=0-4,30-", "bytes=0-15,5-19", "bytes= 0 - 4 ", "bytes=0-0x4", "bytes=00-04"}
	conditions := []string{"", "If-Range: \"v1\"", "If-Range: \"v2\"", "If-None-Match: \"v1\"", "If-None-Match: *", "If-Match: \"v2\"",
		"If-Modified-Since: " + modified.Format(http.TimeFormat), "If-Unmodified-Since: " + modified.Add(-time.Hour).Format(http.TimeFormat)}
	requests := int64(0)
	for _, method := range []string{"GET", "HEAD"} {
		for _, asked := range ranges {
			if method == "HEAD" && asked != "" { // see TestRanges
				continue
			}
			for _, condition := range conditions {
				requests++
				h := http.Header{}
				if asked != "" {
					h.Set("Range", asked)
				}
				if key, value, ok := strings.Cut(condition, ": "); ok {
					h.Set(key, value)
				}
				got, text := exchangeFile(t, method, base+"/files/a", h, nil)
				want, wantText := exchangeFile(t, method, reference.URL, h, nil)
				if want.StatusCode >= 400 {
					wantText = text // a problem document
				}
				if strings.HasPrefix(want.Header.Get("Content-Type"), "multipart/") { // of a random boundary
					text, wantText = strconv.Itoa(len(text)), strconv.Itoa(len(wantText))
				}
				if got.StatusCode != want.StatusCode || text != wantText || got.Header.Get("Content-Range") != want.Header.Get("Content-Range") {
					t.Errorf("%s, range %q, %q: %d %q %q, want %d %q %q", method, asked, condition, got.StatusCode, got.Header.Get("Content-Range"), text,
						want.StatusCode, want.Header.Get("Content-Range"), wantText)
				}
			}
		}
	}
	if d.closed.Load() != requests {
		t.Errorf("%d of %d files were closed", d.closed.Load(), requests)
	}
}

// Ranges that http.ServeContent does not serve as RFC 9110 requires: a unit that the server
// does not know is ignored (section 14.2), a suffix of no bytes is not satisfiable (14.1.2), numbers are
// of any size (14.1.2), and HEAD has no ranges (14.2).
func TestRanges(t *testing.T) {
	t.Parallel()
	const huge = "99999999999999999999"
	d := &disk{content: []byte("0123456789abcdefghij")}
	_, _, full := fileServer(t, d)
	_, _, empty := fileServer(t, new(disk))
	for _, c := range []struct {
		method, base, asked string
		status              int
		contentRange, text  string
	}{
		{"GET", full, "items=0-1", 200, "", "0123456789abcdefghij"},
		{"GET", full, "bytes", 200, "", "0123456789abcdefghij"},
		{"GET", full, "bytes =0-1", 200, "", "0123456789abcdefghij"},
		{"GET", full, "Bytes=0-1", 206, "bytes 0-1/20", "01"},
		{"GET", full, "bytes=-0", 416, "bytes */20", ""},
		{"GET", full, "bytes=-00", 416, "bytes */20", ""},
		{"GET", full, "bytes=-0,30-", 416, "bytes */20", ""},
		{"GET", full, "bytes=-0,0-1", 206, "bytes 0-1/20", "01"},
		{"GET", full, "bytes=-+0", 416, "", ""},
		{"GET", full, "bytes=+0-1", 416, "", ""},
		{"GET", full, "bytes=18-" + huge, 206, "bytes 18-19/20", "ij"},
		{"GET", full, "bytes=-" + huge, 206, "bytes 0-19/20", "0123456789abcdefghij"},
		{"GET", full, "bytes=" + huge + "-", 416, "bytes */20", ""},
		{"HEAD", full, "bytes=0-1", 200, "", ""},
		{"HEAD", full, "bytes=30-", 200, "", ""},
		{"GET", empty, "bytes=0-", 200, "", ""},
		{"GET", empty, "bytes=0-1", 200, "", ""},
		{"GET", empty, "bytes=-5", 200, "", ""},
		{"GET", empty, "bytes=-0", 200, "", ""},
	} {
		got, text := exchangeFile(t, c.method, c.base+"/files/a", http.Header{"Range": {c.asked}}, nil)
		if c.status == http.StatusRequestedRangeNotSatisfiable && strings.HasPrefix(text, "{") {
			text = "" // a problem document
		}
		if got.StatusCode != c.status || got.Header.Get("Content-Range") != c.contentRange || text != c.text {
			t.Errorf("%s %q: %d %q %q, want %d %q %q", c.method, c.asked, got.StatusCode, got.Header.Get("Content-Range"), text, c.status, c.contentRange, c.text)
		}
	}
}

func TestDownloadHeaders(t *testing.T) {
	t.Parallel()
	d := &disk{content: bytes.Repeat([]byte("compressible "), 1000)}
	_, _, base := fileServer(t, d)
	got, text := exchangeFile(t, "GET", base+"/files/a", http.Header{"Accept-Encoding": {"gzip"}}, nil)
	if text != string(d.content) || got.Header.Get("Content-Encoding") != "" || got.ContentLength != int64(len(d.content)) {
		t.Errorf("%v", got.Header)
	}
	for key, want := range map[string]string{
		"Content-Disposition": `attachment; filename="na_ve _1_.txt"; filename*=UTF-8''na%C3%AFve%20_1_.txt`,
		"Content-Type":        "text/plain", "X-Content-Type-Options": "nosniff", "Etag": `"v1"`, "Accept-Ranges": "bytes", "Cache-Control": "no-store",
	} {
		if got.Header.Get(key) != want {
			t.Errorf("%s: %q, want %q", key, got.Header.Get(key), want)
		}
	}
	got, text = exchangeFile(t, "GET", base+"/files/stream", http.Header{"Range": {"bytes=0-1"}}, nil)
	if got.StatusCode != http.StatusOK || text != string(d.content) || got.Header.Get("Accept-Ranges") != "none" {
		t.Errorf("a stream: %d, %v", got.StatusCode, got.Header)
	}
	if got, _ = exchangeFile(t, "HEAD", base+"/files/stream", nil, nil); got.StatusCode != http.StatusOK {
		t.Errorf("HEAD of a stream: %d", got.StatusCode)
	}
	if d.closed.Load() != 3 {
		t.Errorf("%d files were closed", d.closed.Load())
	}
}

// What fails while it is sent never looks complete; what fails before is an error.
func TestDownloadFails(t *testing.T) {
	t.Parallel()
	_, _, base := fileServer(t, &disk{content: bytes.Repeat([]byte("x"), 100_000)})
	for _, name := range []string{"short", "panic", "broken"} {
		if _, text := exchangeFile(t, "GET", base+"/files/"+name, nil, nil); !strings.HasPrefix(text, "cut: ") {
			t.Errorf("%s: complete with %d bytes", name, len(text))
		}
	}
	for _, name := range []string{"none", "panics", "breaks", "shorter", "longer", "missing"} {
		got, text := exchangeFile(t, "GET", base+"/files/"+name, http.Header{"Range": {"bytes=1-2"}}, nil)
		if got.StatusCode != http.StatusInternalServerError || !strings.HasPrefix(text, "{") {
			t.Errorf("%s: %d %s", name, got.StatusCode, text)
		}
		for _, key := range []string{"Accept-Ranges", "Content-Disposition", "Content-Range", "Etag", "Last-Modified"} {
			if got.Header.Get(key) != "" {
				t.Errorf("%s: an error with %s: %s", name, key, got.Header.Get(key))
			}
		}
	}
	if got, text := exchangeFile(t, "GET", base+"/files/empty", nil, nil); got.StatusCode != http.StatusOK || text != "" || got.Header.Get("ETag") == "" {
		t.Errorf("an empty file: %d %s", got.StatusCode, text)
	}
}

// A file that is longer than its Size, or fails where it should end, is an error of the call and
// never looks complete, in whatever pieces it is read.
func TestDownloadIsLongerThanItsSize(t *testing.T) {
	t.Parallel()
	const size = 100_000
	content := strings.Repeat("x", size)
	failed := make(chan error, 1)
	var body io.Reader
	get := func(context.Context, *struct{}) (*found, error) {
		return &found{chassi.File{Reader: body, Size: size}}, nil
	}
	keep := func(_ *chassi.Binding, next chassi.Handler) chassi.Handler {
		return func(ctx context.Context, call *chassi.Call) error {
			err := next(ctx, call)
			failed <- err
			return err
		}
	}
	overBoth(t, func(t *testing.T, h2 bool) {
		s, c := transfers(t, h2, progressTime, chassi.NewEndpoint("Get", get, chassi.Route("GET /file"), chassi.Public, chassi.With(keep)))
		defer stopServer(t, s)
		for name, file := range map[string]struct {
			body io.Reader
			want string // of the error, "" for none
		}{
			"as long":          {io.MultiReader(strings.NewReader(content)), ""},
			"longer":           {io.MultiReader(strings.NewReader(content + "x")), "the file has more than the 100000 bytes of its Size"},
			"longer in pieces": {io.MultiReader(strings.NewReader(content), strings.NewReader("x")), "the file has more than the 100000 bytes of its Size"},
			"failing":          {io.MultiReader(strings.NewReader(content), broken{}), "the disk is broken"},
		} {
			body = file.body
			r, err := client.Invoke[found](t.Context(), c, "Get", &struct{}{})
			if err != nil {
				t.Fatal(err)
			}
			n, err := io.Copy(io.Discard, r.File.Reader)
			if complete := n == size && err == nil; complete != (file.want == "") {
				t.Errorf("%s: the client got %d bytes, %v", name, n, err)
			}
			_ = r.File.Reader.(io.Closer).Close()
			if err := <-failed; (err == nil) != (file.want == "") || err != nil && (!strings.Contains(err.Error(), file.want) || chassi.ErrorOf(err).Code != chassi.Internal) {
				t.Errorf("%s: the call ended with %v, want %q", name, err, file.want)
			}
		}
	})
}

func form(t *testing.T, parts func(w *multipart.Writer)) (http.Header, io.Reader) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	parts(w)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return http.Header{"Content-Type": {w.FormDataContentType()}}, &b
}

func part(t *testing.T, w *multipart.Writer, field, name, text string) {
	t.Helper()
	p, err := w.CreateFormFile(field, name)
	if err == nil {
		_, err = io.WriteString(p, text)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestUpload(t *testing.T) {
	t.Parallel()
	_, _, base := fileServer(t, new(disk), chassi.MaxBody(1000))
	raw := http.Header{"Content-Type": {"text/csv"}, "Content-Disposition": {`attachment; filename="..\\..\\etc/passwd"`}}
	if got, text := exchangeFile(t, "PUT", base+"/files/1", raw, strings.NewReader("a,b")); got.StatusCode != http.StatusOK || text != `{"name":"passwd","type":"text/csv","comment":"","text":"a,b","size":3}` {
		t.Errorf("raw: %d %s", got.StatusCode, text)
	}
	for name, c := range map[string]struct {
		parts func(w *multipart.Writer)
		want  string
	}{
		"a form":       {func(w *multipart.Writer) { _ = w.WriteField("comment", "c"); part(t, w, "x", "../../a.txt", "text") }, `{"name":"a.txt","type":"application/octet-stream","comment":"c","text":"text","size":0}`},
		"a later part": {func(w *multipart.Writer) { part(t, w, "x", "a", "text"); _ = w.WriteField("comment", "c") }, "must be the last part"},
		"no file":      {func(w *multipart.Writer) { _ = w.WriteField("comment", "c") }, "the form has no file"},
		"unknown":      {func(w *multipart.Writer) { _ = w.WriteField("other", "c"); part(t, w, "x", "a", "text") }, "is not a known field"},
		"twice": {func(w *multipart.Writer) {
			_ = w.WriteField("comment", "c")
			_ = w.WriteField("comment", "c")
			part(t, w, "x", "a", "text")
		}, "must be given once, not 2 times"},
	} {
		h, body := form(t, c.parts)
		if got, text := exchangeFile(t, "PUT", base+"/files/1", h, body); !strings.Contains(text, c.want) {
			t.Errorf("%s: %d %s", name, got.StatusCode, text)
		}
	}
	large := strings.Repeat("x", 1001)
	if got, text := exchangeFile(t, "PUT", base+"/files/1", nil, strings.NewReader(large)); got.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("too large: %d %s", got.StatusCode, text)
	}
	if got, text := exchangeFile(t, "PUT", base+"/files/1", nil, struct{ io.Reader }{strings.NewReader(large)}); got.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("too large without a length: %d %s", got.StatusCode, text)
	}
	if got, text := exchangeFile(t, "PUT", base+"/files/1", http.Header{"Content-Encoding": {"gzip"}}, strings.NewReader("x")); got.StatusCode != http.StatusUnsupportedMediaType {
		t.Errorf("compressed: %d %s", got.StatusCode, text)
	}
}

// A client that sends a byte now and then makes no progress.
func TestSlowUploadIsCut(t *testing.T) {
	t.Parallel()
	s, _, _ := fileServer(t, new(disk))
	s.progressTime = 300 * time.Millisecond
	conn, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "PUT /files/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if _, err := conn.Write([]byte("x")); err != nil {
					return
				}
			case <-stop:
				return
			}
		}
	}()
	_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	response := make([]byte, 12)
	if _, err := io.ReadFull(conn, response); err != nil || string(response) != "HTTP/1.1 408" {
		t.Errorf("%q, %v", response, err)
	}
}

// A success does not wait for a body that the method has not read, and whose rest does not come.
func TestUnreadUploadDoesNotDelayTheResponse(t *testing.T) {
	t.Parallel()
	s, _, _ := fileServer(t, &disk{content: []byte("content")})
	for _, request := range []string{
		"PUT /files/unread HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nx",
		"PUT /files/unread HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n",
		"PUT /files/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 500\r\nContent-Type: multipart/form-data; boundary=b\r\n\r\n" +
			"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\ntext\r\n--b--\r\n",
		"GET /files/a HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nx",
		"GET /files/stream HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nx",
	} {
		if text := sendRaw(t, s, request); !strings.HasPrefix(text, "HTTP/1.1 200") || !strings.Contains(text, "Connection: close") {
			t.Errorf("%.40s: %s", request, text)
		}
	}
}

// Neither does an error, after which the connection is closed at once.
func TestRefusedUploadEndsTheConnection(t *testing.T) {
	t.Parallel()
	s, _, _ := fileServer(t, new(disk))
	for _, length := range []string{"Content-Length: 100000", "Content-Length: 10", "Transfer-Encoding: chunked"} {
		if text := sendRaw(t, s, "PUT /files/1?unknown=1 HTTP/1.1\r\nHost: a\r\n"+length+"\r\n\r\n"); !strings.HasPrefix(text, "HTTP/1.1 400") {
			t.Errorf("%s: %s", length, text)
		}
	}
}

// A client that waits before it sends its body receives the error at once, and need not send it.
func TestRefusedUploadIsNotAskedFor(t *testing.T) {
	t.Parallel()
	s, _, _ := fileServer(t, new(disk))
	request := "PUT /files/1?unknown=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n"
	if text := sendRaw(t, s, request); !strings.HasPrefix(text, "HTTP/1.1 400") {
		t.Error(text)
	}
}

// sendRaw sends the bytes of a request, and returns all that comes until the server closes the
// connection.
func sendRaw(t *testing.T, s *Server, request string) string {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(conn)
	if err != nil {
		t.Errorf("%.40s: %v", request, err)
	}
	return string(text)
}

// A file goes both ways through the typed client; the client's file is closed.
func TestClientCarriesFiles(t *testing.T) {
	t.Parallel()
	d := &disk{content: []byte("content")}
	_, service, base := fileServer(t, d)
	caller, err := NewClient(ClientConfig{URL: base})
	if err != nil {
		t.Fatal(err)
	}
	defer caller.Close()
	c, err := client.New(service, caller)
	if err != nil {
		t.Fatal(err)
	}
	own := new(disk)
	got, err := client.Invoke[stored](t.Context(), c, "Put", &upload{ID: "1", Comment: "c", File: chassi.File{Reader: diskFile{bytes.NewReader([]byte("up")), own}, Name: "dir/ü.txt", Type: "text/x"}})
	if err != nil || *got != (stored{Name: "ü.txt", Type: "text/x", Comment: "c", Text: "up"}) || own.closed.Load() == 0 {
		t.Errorf("%+v, %v, closed %d times", got, err, own.closed.Load())
	}
	got, err = client.Invoke[stored](t.Context(), c, "Raw", &rawUpload{File: chassi.File{Reader: strings.NewReader("raw"), Name: "a"}})
	if err != nil || *got != (stored{Name: "a", Type: "application/octet-stream", Text: "raw", Size: 3}) {
		t.Errorf("%+v, %v", got, err)
	}
	longer := chassi.File{Reader: io.MultiReader(strings.NewReader("longer")), Size: 3}
	if got, err := client.Invoke[stored](t.Context(), c, "Put", &upload{ID: "1", Comment: "c", File: longer}); err == nil || !strings.Contains(err.Error(), "more than the 3 bytes of its Size") {
		t.Errorf("a file that is longer than its Size: %+v, %v", got, err)
	}
	for asked, want := range map[string]string{"": "content", "bytes=3-": "tent"} {
		down, err := client.Invoke[found](t.Context(), c, "Get", &wanted{Name: "a", Range: asked})
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(down.File.Reader)
		f := down.File
		if err != nil || string(text) != want || f.Name != "naïve _1_.txt" || f.Type != "text/plain" || f.ETag != "v1" || !f.ModTime.Equal(modified) || f.Size != int64(len(want)) {
			t.Errorf("%q: %+v, %q, %v", asked, f, text, err)
		}
		if err := f.Reader.(io.Closer).Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := client.Invoke[found](t.Context(), c, "Get", &wanted{Name: "none"}); chassi.ErrorOf(err).Code != chassi.Internal {
		t.Error(err)
	}
}

// A file that its own caller cannot read is the caller's mistake, also if the connection ends
// because of it: the service was reached.
func TestFileThatCannotBeRead(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, h2 bool) {
		s, c := transfers(t, h2, progressTime, chassi.NewEndpoint("Raw", func(ctx context.Context, r *rawUpload) (*stored, error) {
			return store(ctx, &upload{File: r.File})
		}, chassi.Route("POST /raw"), chassi.Public))
		defer stopServer(t, s)
		for want, f := range map[string]chassi.File{
			"the disk is broken":                {Reader: io.MultiReader(strings.NewReader("begin"), broken{})},
			"the file ended after 5 of 6 bytes": {Reader: io.MultiReader(strings.NewReader("begin")), Size: 6},
		} {
			_, err := client.Invoke[stored](t.Context(), c, "Raw", &rawUpload{f})
			if e := chassi.ErrorOf(err); err == nil || e.Code != chassi.InvalidArgument || !strings.Contains(err.Error(), want) {
				t.Errorf("%v (%v), want %q", err, e.Code, want)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		_, err := client.Invoke[stored](ctx, c, "Raw", &rawUpload{chassi.File{Reader: readFunc(func([]byte) (int, error) { cancel(); return 0, ctx.Err() })}})
		if chassi.ErrorOf(err).Code != chassi.Canceled {
			t.Errorf("a caller that has left: %v", err)
		}
	})
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(b []byte) (int, error) { return f(b) }

// closable is a connection whose writes fail from a moment on, as if the server had closed it.
type closable struct {
	net.Conn

	closed atomic.Bool
}

func (c *closable) Write(b []byte) (int, error) {
	if c.closed.Load() {
		return 0, net.ErrClosed
	}
	return c.Conn.Write(b)
}

// A request with a file that can seek is sent again if the server has closed the connection between
// two calls.
func TestFileIsSentAgainAfterTheConnectionWasClosed(t *testing.T) {
	t.Parallel()
	_, service, base := fileServer(t, new(disk))
	caller, err := NewClient(ClientConfig{URL: base})
	if err != nil {
		t.Fatal(err)
	}
	defer caller.Close()
	transport := caller.http.Transport.(*http.Transport)
	dial, last := transport.DialContext, new(closable)
	transport.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		last = &closable{Conn: conn}
		return last, err
	}
	c, err := client.New(service, caller)
	if err != nil {
		t.Fatal(err)
	}
	content := strings.Repeat("x", 100_000) // more than all buffers
	for _, send := range []func(f chassi.File) (*stored, error){
		func(f chassi.File) (*stored, error) {
			return client.Invoke[stored](t.Context(), c, "Raw", &rawUpload{f})
		},
		func(f chassi.File) (*stored, error) {
			return client.Invoke[stored](t.Context(), c, "Put", &upload{ID: "1", Comment: "c", File: f})
		},
	} {
		if _, err := send(chassi.File{Reader: strings.NewReader("first")}); err != nil {
			t.Fatal(err)
		}
		last.closed.Store(true)
		from := strings.NewReader("skipped" + content)
		_, _ = from.Seek(int64(len("skipped")), io.SeekStart)
		if got, err := send(chassi.File{Reader: from}); err != nil || got.Text != content {
			t.Errorf("%v", err)
		}
		last.closed.Store(true)
		if _, err := send(chassi.File{Reader: io.MultiReader(strings.NewReader(content))}); err == nil {
			t.Error("a file that cannot seek was sent again")
		}
	}
}

// Large files are not held in memory, and arrive unchanged.
func TestLargeFile(t *testing.T) {
	t.Parallel()
	d := &disk{content: make([]byte, 3<<20)}
	source := rand.NewChaCha8([32]byte{})
	_, _ = source.Read(d.content)
	_, _, base := fileServer(t, d)
	if _, text := exchangeFile(t, "GET", base+"/files/a", nil, nil); text != string(d.content) {
		t.Errorf("%d bytes arrived", len(text))
	}
}
