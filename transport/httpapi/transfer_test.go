package httpapi

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/internal/certtest"
	"github.com/chassi-go/chassi/middleware"
	"github.com/chassi-go/chassi/transport/certs"
)

// overBoth runs test over HTTP/1.1, and over HTTP/2 with TLS.
func overBoth(t *testing.T, test func(t *testing.T, h2 bool)) {
	t.Helper()
	for name, h2 := range map[string]bool{"HTTP1": false, "HTTP2": true} {
		t.Run(name, func(t *testing.T) { test(t, h2) })
	}
}

// transfers serves endpoints and returns a typed client of them. The transfer of a file may make
// no progress for as long as period. The test must stop the server.
func transfers(t *testing.T, h2 bool, period time.Duration, endpoints ...*chassi.Endpoint) (*Server, *client.Client) {
	t.Helper()
	c, own := Config{Addr: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler)}, ClientConfig{}
	if h2 {
		issued := certtest.Issue(t, "server", nil, time.Now().Add(time.Hour))
		dir := t.TempDir()
		c.TLS = certs.Files{CertFile: filepath.Join(dir, "cert"), KeyFile: filepath.Join(dir, "key")}
		if err := errors.Join(os.WriteFile(c.TLS.CertFile, issued.Cert, 0o600), os.WriteFile(c.TLS.KeyFile, issued.Key, 0o600)); err != nil {
			t.Fatal(err)
		}
		own.TLS = &tls.Config{RootCAs: issued.Pool(), MinVersion: tls.VersionTLS13}
	}
	s, err := New(c, middleware.Recover())
	if err != nil {
		t.Fatal(err)
	}
	s.progressTime = period
	service := chassi.NewService("files.v1.Files", endpoints...)
	if err := errors.Join(s.Mount(service), s.Start(t.Context())); err != nil {
		t.Fatal(err)
	}
	own.URL = map[bool]string{false: "http://", true: "https://"}[h2] + s.Addr().String()
	caller, err := NewClient(own)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(caller.Close)
	typed, err := client.New(service, caller)
	if err != nil {
		t.Fatal(err)
	}
	return s, typed
}

func stopServer(t *testing.T, s *Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Error(err)
	}
}

// zeros is a file of zero bytes.
type zeros struct{}

func (zeros) ReadAt(b []byte, _ int64) (int, error) {
	clear(b)
	return len(b), nil
}

// heapMeter counts bytes, and finds the maximum of the heap.
type heapMeter struct {
	n, heap int64
	next    int64 // when to look at the heap
}

func (m *heapMeter) Write(b []byte) (int, error) {
	if m.n += int64(len(b)); m.n >= m.next {
		m.heap = max(m.heap, heapInUse())
		m.next = m.n + 8<<20
	}
	return len(b), nil
}

func heapInUse() int64 {
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return int64(s.HeapInuse + s.StackInuse)
}

// resident returns a line of /proc/self/status in bytes: VmRSS, or VmHWM, its maximum since
// resetPeak; 0 where that cannot be had.
func resident(line string) int64 {
	text, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(text), line+":")
	var kib int64
	_, _ = fmt.Sscan(rest, &kib)
	return kib << 10
}

func resetPeak() bool { return os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) == nil }

func detectsRaces() bool {
	info, _ := debug.ReadBuildInfo()
	return slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// Server and client together take at most 16 MiB for a file of any size, sent raw, as a form, and
// down. The long form, without -race, is of 1 GiB: docs/performance.md has the command.
func TestFilesAreNotHeldInMemory(t *testing.T) { // alone: it measures memory
	const most = 16 << 20
	size := int64(64 << 20)
	if text := os.Getenv("CHASSI_FILE_BYTES"); text != "" {
		var err error
		if size, err = strconv.ParseInt(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	m := new(heapMeter)
	store := func(_ context.Context, r *upload) (*stored, error) {
		n, err := io.Copy(m, r.File.Reader)
		return &stored{Size: n}, err
	}
	file := func() chassi.File { return chassi.File{Reader: io.NewSectionReader(zeros{}, 0, size)} }
	overBoth(t, func(t *testing.T, h2 bool) {
		s, c := transfers(t, h2, progressTime,
			chassi.NewEndpoint("Form", store, chassi.Route("PUT /form/{id}"), chassi.Public, chassi.MaxBody(2*size)),
			chassi.NewEndpoint("Raw", func(ctx context.Context, r *rawUpload) (*stored, error) { return store(ctx, &upload{File: r.File}) },
				chassi.Route("PUT /raw"), chassi.Public, chassi.MaxBody(size)),
			chassi.NewEndpoint("Get", func(context.Context, *struct{}) (*found, error) { return &found{file()}, nil }, chassi.Route("GET /file"), chassi.Public))
		defer stopServer(t, s)
		for name, transfer := range map[string]func() error{
			"upload": func() error {
				_, err := client.Invoke[stored](t.Context(), c, "Raw", &rawUpload{file()})
				return err
			},
			"form": func() error {
				_, err := client.Invoke[stored](t.Context(), c, "Form", &upload{ID: "1", Comment: "c", File: file()})
				return err
			},
			"download": func() error {
				r, err := client.Invoke[found](t.Context(), c, "Get", &struct{}{})
				if err != nil {
					return err
				}
				_, err = io.Copy(m, r.File.Reader)
				return errors.Join(err, r.File.Reader.(io.Closer).Close())
			},
		} {
			debug.FreeOSMemory()
			*m = heapMeter{}
			heap, rss, peak := heapInUse(), resident("VmRSS"), resetPeak()
			began := time.Now()
			if err := transfer(); err != nil || m.n != size {
				t.Fatalf("%s: %d bytes, %v", name, m.n, err)
			}
			grown, grownRSS := m.heap-heap, resident("VmHWM")-rss
			t.Logf("%s of %d MiB in %v: heap %+.1f MiB, resident %+.1f MiB", name, size>>20, time.Since(began).Round(time.Millisecond),
				float64(grown)/(1<<20), float64(grownRSS)/(1<<20))
			if grown > most || peak && !detectsRaces() && grownRSS > most {
				t.Errorf("%s: heap grew by %d bytes, resident memory by %d", name, grown, grownRSS)
			}
		}
	})
}

// pausing is a file that takes its time before each part.
type pausing struct {
	parts int
	pause time.Duration
}

func (p *pausing) Read(b []byte) (int, error) {
	if p.parts == 0 {
		return 0, io.EOF
	}
	p.parts--
	<-time.After(p.pause)
	return copy(b, "part"), nil
}

// The time that the service takes on its side of a transfer is not the client's: neither between
// the parts of a download, nor after an upload.
func TestSlowServiceIsNotCut(t *testing.T) {
	t.Parallel()
	const period = 100 * time.Millisecond
	overBoth(t, func(t *testing.T, h2 bool) {
		t.Parallel()
		s, c := transfers(t, h2, period,
			chassi.NewEndpoint("Get", func(context.Context, *struct{}) (*found, error) {
				return &found{chassi.File{Reader: &pausing{3, 3 * period}}}, nil
			}, chassi.Route("GET /file"), chassi.Public),
			chassi.NewEndpoint("Put", func(ctx context.Context, r *rawUpload) (*stored, error) {
				if _, err := io.Copy(io.Discard, r.File.Reader); err != nil {
					return nil, err
				}
				select {
				case <-ctx.Done():
					return nil, context.Cause(ctx)
				case <-time.After(5 * period):
					return &stored{Text: "stored"}, nil
				}
			}, chassi.Route("PUT /file"), chassi.Public))
		defer stopServer(t, s)
		r, err := client.Invoke[found](t.Context(), c, "Get", &struct{}{})
		if err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(r.File.Reader); string(text) != "partpartpart" || err != nil {
			t.Errorf("%q, %v", text, err)
		}
		if got, err := client.Invoke[stored](t.Context(), c, "Put", &rawUpload{chassi.File{Reader: strings.NewReader("x")}}); err != nil || got.Text != "stored" {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

// A client that takes nothing of a download is cut off. One that is slow, but takes more than the
// minimum, is not, although the kernel buffers most of the difference.
func TestSlowDownloads(t *testing.T) {
	t.Parallel()
	const period = 400 * time.Millisecond
	cut := make(chan error, 1)
	e := chassi.NewEndpoint("Get", func(context.Context, *struct{}) (*found, error) {
		return &found{chassi.File{Reader: io.NewSectionReader(zeros{}, 0, 1<<40)}}, nil
	}, chassi.Route("GET /file"), chassi.Public, chassi.With(func(_ *chassi.Binding, next chassi.Handler) chassi.Handler {
		return func(ctx context.Context, call *chassi.Call) error {
			err := next(ctx, call)
			cut <- err
			return err
		}
	}))
	s, _ := transfers(t, false, period, e)
	defer stopServer(t, s)
	conn, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET /file HTTP/1.1\r\nHost: a\r\n\r\n")
	part := make([]byte, 32<<10)
	tick := time.NewTicker(period / 20) // 20 parts within a period
	defer tick.Stop()
	for range 20 * 8 {
		select {
		case <-tick.C:
		case err := <-cut:
			t.Fatalf("a slow client was cut off: %v", err)
		}
		if _, err := io.ReadFull(conn, part); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case err := <-cut:
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("ended with %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Error("a client that takes nothing is not cut off")
	}
}

// A download that is under way when the server stops is finished; the server takes no more.
func TestDownloadIsFinishedAtStop(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, h2 bool) {
		t.Parallel()
		const size = 32 << 20 // more than all buffers
		s, c := transfers(t, h2, progressTime, chassi.NewEndpoint("Get", func(context.Context, *struct{}) (*found, error) {
			return &found{chassi.File{Reader: io.NewSectionReader(zeros{}, 0, size)}}, nil
		}, chassi.Route("GET /file"), chassi.Public))
		r, err := client.Invoke[found](t.Context(), c, "Get", &struct{}{})
		if err != nil {
			t.Fatal(err)
		}
		s.Drain()
		stopped := make(chan error)
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			stopped <- s.Stop(ctx)
		}()
		for { // until the listener is closed
			conn, err := net.Dial("tcp", s.Addr().String())
			if err != nil {
				break
			}
			conn.Close()
		}
		select {
		case err := <-stopped:
			t.Errorf("stopped during the download: %v", err)
		default:
		}
		if n, err := io.Copy(io.Discard, r.File.Reader); n != size || err != nil {
			t.Errorf("%d bytes, %v", n, err)
		}
		r.File.Reader.(io.Closer).Close()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
}

// A client resumes a download with Range and If-Range, and gets the whole file if it has changed.
func TestClientResumesDownload(t *testing.T) {
	t.Parallel()
	type resumed struct {
		Range   string `json:"-" header:"Range"`
		IfRange string `json:"-" header:"If-Range"`
	}
	type part struct {
		Status int         `json:"-" status:"200"`
		File   chassi.File `json:"file"`
	}
	version := "v1"
	overBoth(t, func(t *testing.T, h2 bool) {
		s, c := transfers(t, h2, progressTime, chassi.NewEndpoint("Get", func(context.Context, *resumed) (*part, error) {
			return &part{File: chassi.File{Reader: strings.NewReader("content " + version), ETag: version}}, nil
		}, chassi.Route("GET /file"), chassi.Public))
		defer stopServer(t, s)
		for tag, want := range map[string]string{"v1": "206 tent v1", "v0": "200 content v1"} {
			r, err := client.Invoke[part](t.Context(), c, "Get", &resumed{"bytes=3-", `"` + tag + `"`})
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(r.File.Reader)
			if got := fmt.Sprint(r.Status, " ", string(text)); got != want || err != nil || r.File.ETag != version {
				t.Errorf("%s: %q, %v, want %q", tag, got, err, want)
			}
		}
		_, err := client.Invoke[part](t.Context(), c, "Get", &resumed{Range: "bytes=100-"})
		if e := chassi.ErrorOf(err); e.Code != chassi.OutOfRange || e.Reason != "range_not_satisfiable" {
			t.Error(err)
		}
	})
}

// Neither the fields of a form nor what follows its file can take up much memory.
func TestFormBounds(t *testing.T) {
	t.Parallel()
	_, _, base := fileServer(t, new(disk))
	for name, c := range map[string]struct {
		body io.Reader
		want string
	}{
		"a long field":        {strings.NewReader(formPart(`name="comment"`) + strings.Repeat("x", maxFormField+1)), "413 A field of the form is larger than 65536 bytes"},
		"many fields":         {strings.NewReader(strings.Repeat(formPart(`name="comment"`)+strings.Repeat("x", 60<<10)+"\r\n", 20)), "413 The fields of the form are larger than 1048576 bytes"},
		"a long later header": {io.MultiReader(strings.NewReader(formPart(`name="f"; filename="f"`)+"x\r\n--b\r\nX: "), io.LimitReader(endless{}, 64<<10)), "400 The request is malformed"},
		"not closed":          {strings.NewReader(formPart(`name="f"; filename="f"`) + "x\r\n--b\r\n"), "400 must be the last part"},
		"closed in part":      {strings.NewReader(formPart(`name="f"; filename="f"`) + "x\r\n--b-"), "400 the form is not well-formed"},
		"a header first":      {io.MultiReader(strings.NewReader("--b\r\nX: "), io.LimitReader(endless{}, 2<<20)), "413 The fields of the form are larger than 1048576 bytes"},
		"no boundary":         {io.LimitReader(endless{}, 2<<20), "400 the form is not well-formed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, text := exchangeFile(t, "PUT", base+"/files/1", http.Header{"Content-Type": {"multipart/form-data; boundary=b"}}, struct{ io.Reader }{c.body})
			if want, message, _ := strings.Cut(c.want, " "); strconv.Itoa(got.StatusCode) != want || !strings.Contains(text, message) {
				t.Errorf("%d %s, want %s", got.StatusCode, text, c.want)
			}
		})
	}
}

func formPart(disposition string) string {
	return "--b\r\nContent-Disposition: form-data; " + disposition + "\r\n\r\n"
}

type endless struct{}

func (endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 'x'
	}
	return len(b), nil
}

// FuzzForm compares what a method gets of a form with what mime/multipart reads.
func FuzzForm(f *testing.F) {
	store := func(_ context.Context, r *upload) (*stored, error) {
		text, err := io.ReadAll(r.File.Reader)
		return &stored{Name: r.File.Name, Text: hex.EncodeToString(text)}, err
	}
	s, err := New(Config{})
	if err == nil {
		err = s.Mount(chassi.NewService("files.v1.Files", chassi.NewEndpoint("Put", store, chassi.Route("PUT /files/{id}"), chassi.Public, chassi.MaxBody(64<<10))))
	}
	if err != nil {
		f.Fatal(err)
	}
	file := formPart(`name="f"; filename="../a.txt"`) + "text\r\n"
	for _, body := range []string{
		file + "--b--\r\n", formPart(`name="comment"`) + "c\r\n" + file + "--b--", file + file + "--b--", file, "", "--b--", file + "--b", "preamble\r\n" + file + "--b--epilogue",
		formPart(`name="comment"; filename*=UTF-8''%2e%2e`) + "\r\n--b--", "--b\r\n\r\n--b--", strings.ReplaceAll(file+"--b--", "\r\n", "\n"),
	} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "/files/1", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "multipart/form-data; boundary=b")
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		switch w.Code {
		case http.StatusOK:
			if want, err := readForm(body); err != nil || !strings.Contains(w.Body.String(), `"text":"`+hex.EncodeToString(want)+`"`) {
				t.Errorf("%q: %s, want %q, %v", body, w.Body, want, err)
			}
		case http.StatusBadRequest, http.StatusRequestEntityTooLarge:
		default:
			t.Errorf("%q: status %d", body, w.Code)
		}
	})
}

// readForm returns the content of the file that a form ends with.
func readForm(body string) ([]byte, error) {
	form := multipart.NewReader(strings.NewReader(body), "b")
	for {
		part, err := form.NextRawPart()
		if err != nil {
			return nil, err
		}
		content, err := io.ReadAll(part)
		if err != nil {
			return nil, err
		}
		if isFile(part.Header) {
			if _, err := form.NextRawPart(); !errors.Is(err, io.EOF) || !strings.Contains("\n"+body, "\n--b--") {
				return nil, fmt.Errorf("the form does not end: %w", err)
			}
			return content, nil
		}
	}
}
