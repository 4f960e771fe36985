package chassi_test

import (
	"context"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chassi-go/chassi"
)

func local(t *testing.T, e *chassi.Endpoint, middleware ...chassi.Middleware) func(context.Context, *request) (*response, error) {
	t.Helper()
	call, err := chassi.Local[request, response](e, middleware...)
	if err != nil {
		t.Fatal(err)
	}
	return call
}

func TestLocalCallIsTyped(t *testing.T) {
	t.Parallel()
	call := local(t, chassi.NewEndpoint("Greet", greet, chassi.Public))
	got, err := call(t.Context(), &request{Name: "Ada"})
	if err != nil || got.Text != "Hello, Ada" {
		t.Errorf("call = %v, %v", got, err)
	}
	if _, err := call(t.Context(), nil); chassi.ErrorOf(err).Code != chassi.InvalidArgument {
		t.Errorf("call with a nil request: %v, want invalid_argument", err)
	}
}

func TestLocalMethodGetsACopy(t *testing.T) {
	t.Parallel()
	call := local(t, chassi.NewEndpoint("Rename", func(_ context.Context, r *request) (*response, error) {
		r.Name = "changed"
		return &response{}, nil
	}, chassi.Public))
	r := &request{Name: "Ada"}
	if _, err := call(t.Context(), r); err != nil || r.Name != "Ada" {
		t.Errorf("after the call the request is %v, %v", r, err)
	}
}

func TestLocalRefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	e := chassi.NewEndpoint("Greet", greet, chassi.Public)
	cases := map[string]struct {
		make func() error
		want string
	}{
		"no endpoint":    {func() error { _, err := chassi.Local[request, response](nil); return err }, "no endpoint"},
		"other request":  {func() error { _, err := chassi.Local[nothing, response](e); return err }, "it takes chassi_test.request"},
		"other response": {func() error { _, err := chassi.Local[request, nothing](e); return err }, "returns chassi_test.response"},
		"nil middleware": {func() error { _, err := chassi.Local[request, response](e, nil); return err }, "middleware that is nil"},
		"faulty endpoint": {func() error {
			_, err := chassi.Local[request, response](chassi.NewEndpoint[request, response]("X", nil))
			return err
		}, "has no method"},
		"raw endpoint": {func() error {
			_, err := chassi.Local[request, response](chassi.RawEndpoint("raw", func(context.Context, *chassi.Call) error { return nil }))
			return err
		}, "local call of raw"},
	}
	for name, c := range cases {
		if err := c.make(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q in it", name, err, c.want)
		}
	}
}

func TestLocalNeverReturnsNeither(t *testing.T) {
	t.Parallel()
	swallow := func(*chassi.Binding, chassi.Handler) chassi.Handler {
		return func(context.Context, *chassi.Call) error { return nil }
	}
	got, err := local(t, chassi.NewEndpoint("Greet", greet, chassi.Public), swallow)(t.Context(), &request{})
	if got != nil || chassi.ErrorOf(err) == nil {
		t.Errorf("call = %v, %v: a caller would dereference nil", got, err)
	}
}

func TestLocalTakesTheCallerAlong(t *testing.T) {
	t.Parallel()
	inner := local(t, chassi.NewEndpoint("Inner", func(ctx context.Context, _ *request) (*response, error) {
		call := chassi.CallFrom(ctx)
		return &response{Text: call.RequestID + " " + call.Principal.Subject + " " + call.Transport}, nil
	}))
	outer := &chassi.Call{RequestID: "r1", Principal: &chassi.Principal{Subject: "7"}}
	got, err := inner(outer.Context(t.Context()), &request{})
	if err != nil || got.Text != "r1 7 local" {
		t.Errorf("inner call saw %v, %v", got, err)
	}
	if _, err := inner(t.Context(), &request{}); chassi.ErrorOf(err).Code != chassi.Unauthenticated {
		t.Errorf("a call of nobody: %v", err)
	}
}

func TestLocalMetadataIgnoresCase(t *testing.T) {
	t.Parallel()
	look := func(_ *chassi.Binding, next chassi.Handler) chassi.Handler {
		return func(ctx context.Context, call *chassi.Call) error {
			call.Out.Set("Retry-After", "3")
			if call.Out.Get("retry-AFTER") != "3" || call.In.Get("missing") != "" {
				return io.EOF
			}
			return next(ctx, call)
		}
	}
	if _, err := local(t, chassi.NewEndpoint("Greet", greet, chassi.Public), look)(t.Context(), &request{}); err != nil {
		t.Error(err)
	}
}

func TestLocalStatusIsTheCode(t *testing.T) {
	t.Parallel()
	var status []int
	look := func(b *chassi.Binding, next chassi.Handler) chassi.Handler {
		return func(ctx context.Context, call *chassi.Call) error {
			err := next(ctx, call)
			status = append(status, b.Status(call, err), b.Status(call, errGone))
			return err
		}
	}
	if _, err := local(t, chassi.NewEndpoint("Greet", greet, chassi.Public), look)(t.Context(), &request{}); err != nil {
		t.Fatal(err)
	}
	if want := []int{0, int(chassi.NotFound)}; !slices.Equal(status, want) {
		t.Errorf("status %v, want %v", status, want)
	}
}

func TestLocalIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	call := local(t, chassi.NewEndpoint("Greet", greet, chassi.Public))
	var wg sync.WaitGroup
	for _, name := range []string{"Ada", "Grace", "Barbara", "Frances"} {
		wg.Go(func() {
			for range 100 {
				if got, err := call(context.Background(), &request{Name: name}); err != nil || got.Text != "Hello, "+name {
					t.Errorf("call = %v, %v", got, err)
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkLocal(b *testing.B) {
	call, err := chassi.Local[request, response](chassi.NewEndpoint("Greet", greet, chassi.Public))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := call(b.Context(), &request{Name: "Ada"}); err != nil {
			b.Fatal(err)
		}
	}
}
