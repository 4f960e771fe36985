package localapi_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/transport/localapi"
)

type closing struct {
	io.Reader

	closed *atomic.Int64
}

func (c closing) Close() error { c.closed.Add(1); return nil }

type document struct{ File chassi.File }

// fileClient returns a client of the method, and its server.
func fileClient(t *testing.T, method func(context.Context, *document) (*document, error), options ...chassi.EndpointOption) (*client.Client, *localapi.Server) {
	t.Helper()
	s := chassi.NewService("test.v1.Test", chassi.NewEndpoint("Do", method, append(options, chassi.Public)...))
	l := localapi.New(func(_ *chassi.Binding, next chassi.Handler) chassi.Handler {
		return func(ctx context.Context, call *chassi.Call) error {
			ctx, cancel := context.WithCancel(ctx) // as the middleware for timeouts does
			defer cancel()
			return next(ctx, call)
		}
	})
	if err := l.Mount(s); err != nil {
		t.Fatal(err)
	}
	c, err := client.New(s, l)
	if err != nil {
		t.Fatal(err)
	}
	return c, l
}

// Files go both ways, with names and sizes as over HTTP; each is closed once.
func TestLocalCarriesFiles(t *testing.T) {
	t.Parallel()
	var sent, answered atomic.Int64
	c, _ := fileClient(t, func(ctx context.Context, r *document) (*document, error) {
		if r.File.Name == "refused" {
			chassi.CallFrom(ctx).Out.Set("not a name", "")
		}
		text, err := io.ReadAll(r.File.Reader)
		if err != nil {
			return nil, err
		}
		return &document{chassi.File{Name: "dir/" + r.File.Name, Reader: closing{strings.NewReader(strings.ToUpper(string(text))), &answered}}}, nil
	})
	do := func(name, text string) (*document, error) {
		return client.Invoke[document](t.Context(), c, "Do", &document{chassi.File{Name: name, Reader: closing{strings.NewReader(text), &sent}}})
	}
	got, err := do("../a.txt", "text")
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(got.File.Reader)
	if closed := got.File.Reader.(io.Closer).Close(); string(text) != "TEXT" || err != nil || got.File.Name != "a.txt" || closed != nil || sent.Load() != 1 || answered.Load() != 1 {
		t.Errorf("%q, %v, %v, closed %d and %d times", text, err, closed, sent.Load(), answered.Load())
	}
	if n, err := got.File.Reader.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %d, %v", n, err)
	}
	if _, err := do("refused", ""); err == nil || answered.Load() != 2 {
		t.Errorf("a refused file was closed %d times, %v", answered.Load()-1, err)
	}
	empty, err := client.Invoke[document](t.Context(), c, "Do", &document{})
	if err != nil {
		t.Fatal(err)
	}
	empty.File.Reader.(io.Closer).Close()
	if n, err := empty.File.Reader.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.ErrClosedPipe) || answered.Load() != 3 {
		t.Errorf("after Close: %d, %v, closed %d times", n, err, answered.Load()-2)
	}
}

// An upload that is too large or fails is refused, also if the method takes it for complete.
func TestLocalRefusesUploads(t *testing.T) {
	t.Parallel()
	c, _ := fileClient(t, func(_ context.Context, r *document) (*document, error) {
		_, _ = io.Copy(io.Discard, r.File.Reader)
		return &document{chassi.File{Reader: strings.NewReader("stored")}}, nil
	}, chassi.MaxBody(3))
	broken := errors.New("the disk is broken")
	for _, upload := range []struct {
		reader io.Reader
		reason string
	}{{strings.NewReader("four"), "body_too_large"}, {failing{broken}, "malformed_request"}, {strings.NewReader("123"), ""}} {
		got, err := client.Invoke[document](t.Context(), c, "Do", &document{chassi.File{Reader: upload.reader}})
		if err == nil {
			got.File.Reader.(io.Closer).Close()
		}
		if (err == nil) != (upload.reason == "") || err != nil && chassi.ErrorOf(err).Reason != upload.reason {
			t.Errorf("%v, want %q", err, upload.reason)
		}
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) {
	if f.err == nil {
		panic("while reading")
	}
	return 0, f.err
}

// lazy reads as long as the call lasts.
type lazy struct {
	ctx  context.Context
	left int
}

func (l *lazy) Read(b []byte) (int, error) {
	if err := l.ctx.Err(); err != nil {
		return 0, err
	}
	if l.left == 0 {
		return 0, io.EOF
	}
	l.left--
	return copy(b, "x"), nil
}

// The call lasts until the client has read or closed the file, or its own context ends. A server
// that stops waits for it.
func TestLocalCallLastsAsLongAsItsFile(t *testing.T) {
	t.Parallel()
	var closed atomic.Int64
	c, l := fileClient(t, func(ctx context.Context, _ *document) (*document, error) {
		return &document{chassi.File{Reader: closing{&lazy{ctx, 3}, &closed}}}, nil
	})
	get := func(ctx context.Context) io.ReadCloser {
		r, err := client.Invoke[document](ctx, c, "Do", &document{})
		if err != nil {
			t.Fatal(err)
		}
		return r.File.Reader.(io.ReadCloser)
	}
	if text, err := io.ReadAll(get(t.Context())); string(text) != "xxx" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	left := get(ctx)
	cancel()
	for { // until the server has noticed
		if _, err := left.Read(make([]byte, 1)); err != nil {
			if chassi.ErrorOf(err).Code != chassi.Canceled {
				t.Error(err)
			}
			break
		}
	}
	held := get(t.Context())
	stopped := make(chan error)
	go func() { stopped <- l.Stop(context.Background()) }()
	for { // until it refuses calls
		r, err := client.Invoke[document](t.Context(), c, "Do", &document{})
		if err != nil {
			break
		}
		r.File.Reader.(io.Closer).Close()
	}
	select {
	case err := <-stopped:
		t.Errorf("stopped with an open file: %v", err)
	default:
	}
	if text, err := io.ReadAll(held); string(text) != "xxx" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// A Reader that fails or panics while the client reads is an error of the client's Reader.
func TestLocalDownloadFails(t *testing.T) {
	t.Parallel()
	for _, reader := range []io.Reader{failing{errors.New("the disk is broken")}, failing{}, nil} {
		c, _ := fileClient(t, func(context.Context, *document) (*document, error) {
			return &document{chassi.File{Reader: reader}}, nil
		})
		r, err := client.Invoke[document](t.Context(), c, "Do", &document{})
		if err == nil {
			_, err = io.ReadAll(r.File.Reader)
		}
		if e, ok := errors.AsType[*chassi.Error](err); !ok || e.Code != chassi.Internal {
			t.Errorf("%v: %v", reader, err)
		}
	}
}

// A file of a response with more or fewer bytes than its Size never looks complete, and is an error
// of the call, as over HTTP. What a file that can seek has beyond its size is not read.
func TestLocalChecksSizeOfDownload(t *testing.T) {
	t.Parallel()
	const content = "content"
	ended := make(chan error, 1)
	var answer chassi.File
	keep := func(_ *chassi.Binding, next chassi.Handler) chassi.Handler {
		return func(ctx context.Context, call *chassi.Call) error {
			err := next(ctx, call)
			ended <- err
			return err
		}
	}
	c, _ := fileClient(t, func(context.Context, *document) (*document, error) { return &document{answer}, nil }, chassi.With(keep))
	var closed atomic.Int64
	for name, file := range map[string]struct {
		reader io.Reader
		size   int64
		want   string // of the error, "" for none
	}{
		"unknown":         {strings.NewReader(content), 0, ""},
		"as long":         {io.MultiReader(strings.NewReader(content)), 7, ""},
		"longer":          {io.MultiReader(strings.NewReader(content)), 6, "more than the 6 bytes of its Size"},
		"shorter":         {io.MultiReader(strings.NewReader(content)), 8, "ended after 7 of 8 bytes"},
		"empty":           {io.MultiReader(), 1, "ended after 0 of 1 bytes"},
		"any that seeks":  {strings.NewReader(content), 3, ""},
		"growing":         {&growing{strings.NewReader(content + "more"), 7}, 0, ""},
		"shrinking":       {&growing{strings.NewReader(content), 9}, 0, "ended after 7 of 9 bytes"},
		"closed, shorter": {closing{io.MultiReader(strings.NewReader(content)), &closed}, 8, "ended after 7 of 8 bytes"},
	} {
		answer = chassi.File{Reader: file.reader, Size: file.size}
		r, err := client.Invoke[document](t.Context(), c, "Do", &document{})
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r.File.Reader)
		if file.want == "" && (string(text) != content || err != nil) {
			t.Errorf("%s: the client got %q, %v", name, text, err)
		}
		for who, err := range map[string]error{"client": err, "call": <-ended} {
			if (err == nil) != (file.want == "") || err != nil && (!strings.Contains(err.Error(), file.want) || chassi.ErrorOf(err).Code != chassi.Internal) {
				t.Errorf("%s: the %s got %v, want %q", name, who, err, file.want)
			}
		}
	}
	if closed.Load() != 1 {
		t.Errorf("a file was closed %d times", closed.Load())
	}
}

// growing is a file of which the size changes after it was determined.
type growing struct {
	*strings.Reader

	size int64 // at first
}

func (g *growing) Seek(offset int64, whence int) (int64, error) {
	if whence == io.SeekEnd {
		return g.size, nil
	}
	return g.Reader.Seek(offset, whence)
}

// A file of a request with more or fewer bytes than its Size refuses the call, and the method gets
// the size of one that can seek.
func TestLocalChecksSizeOfUpload(t *testing.T) {
	t.Parallel()
	var size int64
	c, _ := fileClient(t, func(_ context.Context, r *document) (*document, error) {
		size = r.File.Size
		_, _ = io.Copy(io.Discard, r.File.Reader)
		return &document{chassi.File{Reader: strings.NewReader("")}}, nil
	})
	skipped := strings.NewReader("123four")
	_, _ = skipped.Seek(3, io.SeekStart)
	for _, upload := range []struct {
		reader     io.Reader
		size, want int64
		failure    string
	}{
		{io.MultiReader(strings.NewReader("four")), 4, 4, ""},
		{io.MultiReader(strings.NewReader("four")), 3, 3, "more than the 3 bytes of its Size"},
		{io.MultiReader(strings.NewReader("four")), 5, 5, "ended after 4 of 5 bytes"},
		{io.MultiReader(strings.NewReader("four")), 0, 0, ""},
		{skipped, 99, 4, ""},
	} {
		got, err := client.Invoke[document](t.Context(), c, "Do", &document{chassi.File{Reader: upload.reader, Size: upload.size}})
		if err == nil {
			got.File.Reader.(io.Closer).Close()
		}
		if size != upload.want {
			t.Errorf("the method got the size %d, want %d", size, upload.want)
		}
		if (err == nil) != (upload.failure == "") || err != nil && (!strings.Contains(err.Error(), upload.failure) || chassi.ErrorOf(err).Code != chassi.InvalidArgument) {
			t.Errorf("%v, want %q", err, upload.failure)
		}
	}
}

// Files that HTTP does not carry are refused at mount here too.
func TestLocalRefusesMisplacedFiles(t *testing.T) {
	t.Parallel()
	type (
		nothing  struct{}
		Embedded struct{ F chassi.File }
		node     struct {
			Next  *node
			Files map[string]chassi.File
		}
	)
	for want, e := range map[string]*chassi.Endpoint{
		"a.v1.A/Do: field A of": endpointOf[struct{ A []chassi.File }, nothing](),
		"field B of":            endpointOf[nothing, struct{ B []struct{ F chassi.File } }](),
		"field C of":            endpointOf[struct{ C *chassi.File }, nothing](),
		"field D of":            endpointOf[nothing, struct{ D struct{ F [1]chassi.File } }](),
		"field E of":            endpointOf[nothing, struct{ E node }](),
		"field F of":            endpointOf[struct{ *Embedded }, nothing](),
		"fields G and H of": endpointOf[struct {
			G chassi.File
			H chassi.File
		}, nothing](),
		"": endpointOf[Embedded, struct {
			Embedded
			Tree *struct{ Name string }
		}](),
	} {
		err := localapi.New().Mount(chassi.NewService("a.v1.A", e))
		if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "file")) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func endpointOf[Req, Res any]() *chassi.Endpoint {
	return chassi.NewEndpoint("Do", func(context.Context, *Req) (*Res, error) { return new(Res), nil }, chassi.Public)
}
