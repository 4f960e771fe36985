package localapi_test

import (
	"context"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/transport/localapi"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type (
	request struct {
		Name string `json:"name"`
	}
	response struct {
		Text string `json:"text"`
	}
	nothing struct{}
)

var errGone = chassi.NewError(chassi.NotFound, "gone", "Gone")

func greet(_ context.Context, r *request) (*response, error) {
	return &response{Text: "Hello, " + r.Name}, nil
}

func local(t testing.TB, e *chassi.Endpoint, middleware ...chassi.Middleware) func(context.Context, *request) (*response, error) {
	t.Helper()
	return localOf(t, chassi.NewService("test.v1.Test", e), middleware...)
}

// localOf calls the only endpoint of s.
func localOf(t testing.TB, s *chassi.Service, middleware ...chassi.Middleware) func(context.Context, *request) (*response, error) {
	t.Helper()
	l := localapi.New(middleware...)
	if err := l.Mount(s); err != nil {
		t.Fatal(err)
	}
	c, err := client.New(s, l)
	if err != nil {
		t.Fatal(err)
	}
	return func(ctx context.Context, r *request) (*response, error) {
		return client.Invoke[response](ctx, c, s.Endpoints()[0].Name(), r)
	}
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

func TestLocalRejectsInvalidCalls(t *testing.T) {
	t.Parallel()
	greeter := func() *chassi.Service {
		return chassi.NewService("test.v1.Test", chassi.NewEndpoint("Greet", greet, chassi.Public))
	}
	l := localapi.New()
	if err := l.Mount(greeter()); err != nil {
		t.Fatal(err)
	}
	c, err := client.New(greeter(), l)
	if err != nil {
		t.Fatal(err)
	}
	other := func(context.Context, *nothing) (*response, error) { return nil, nil }
	cases := map[string]struct {
		make func() error
		want string
	}{
		"not served": {func() error {
			_, err := client.New(chassi.NewService("test.v1.Other", chassi.NewEndpoint("Greet", greet)), l)
			return err
		}, "test.v1.Other/Greet is not served"},
		"other types": {func() error {
			_, err := client.New(chassi.NewService("test.v1.Test", chassi.NewEndpoint("Greet", other)), l)
			return err
		}, "accepts localapi_test.request"},
		"nil middleware of the client": {func() error { _, err := client.New(greeter(), l, nil); return err }, "nil middleware"},
		"nil middleware":               {func() error { return localapi.New(nil).Mount(greeter()) }, "middleware is nil"},
		"faulty endpoint": {func() error {
			return l.Mount(chassi.NewService("test.v1.Test", chassi.NewEndpoint[request, response]("X", nil)))
		}, "has no method"},
		"no such method": {func() error { _, err := client.Invoke[response](t.Context(), c, "Bye", &request{}); return err }, "has no method Bye"},
		"other response": {func() error { _, err := client.Invoke[nothing](t.Context(), c, "Greet", &request{}); return err }, "returns localapi_test.response"},
		"other request":  {func() error { _, err := client.Invoke[response](t.Context(), c, "Greet", &nothing{}); return err }, "accepts localapi_test.request"},
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

func TestLocalPassesTheCaller(t *testing.T) {
	t.Parallel()
	inner := local(t, chassi.NewEndpoint("Inner", func(ctx context.Context, _ *request) (*response, error) {
		call := chassi.CallFrom(ctx)
		return &response{Text: call.RequestID + " " + call.Principal.Subject + " " + call.Transport}, nil
	}))
	outer := &chassi.Call{RequestID: "request-1", Principal: &chassi.Principal{Subject: "7"}}
	got, err := inner(outer.Context(t.Context()), &request{})
	if err != nil || got.Text != "request-1 7 local" {
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

// A stop waits for what is under way and refuses the rest.
func TestLocalStop(t *testing.T) {
	t.Parallel()
	entered, leave := make(chan struct{}), make(chan struct{})
	l := localapi.New()
	s := chassi.NewService("test.v1.Test", chassi.NewEndpoint("Wait", func(context.Context, *request) (*response, error) {
		close(entered)
		<-leave
		return &response{Text: "done"}, nil
	}, chassi.Public))
	if err := l.Mount(s); err != nil {
		t.Fatal(err)
	}
	c, err := client.New(s, l)
	if err != nil {
		t.Fatal(err)
	}
	answered := make(chan error, 1)
	go func() {
		_, err := client.Invoke[response](context.Background(), c, "Wait", &request{})
		answered <- err
	}()
	<-entered
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := l.Stop(ctx); err == nil || !strings.Contains(err.Error(), "test.v1.Test/Wait (1)") {
		t.Errorf("%v, want the call named", err)
	}
	if _, err := client.Invoke[response](t.Context(), c, "Wait", &request{}); chassi.ErrorOf(err).Code != chassi.Unavailable {
		t.Errorf("a call while stopping: %v", err)
	}
	close(leave)
	if err := <-answered; err != nil {
		t.Error(err)
	}
	if err := l.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

func BenchmarkLocal(b *testing.B) {
	call := local(b, chassi.NewEndpoint("Greet", greet, chassi.Public))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := call(b.Context(), &request{Name: "Ada"}); err != nil {
			b.Fatal(err)
		}
	}
}

// The end of a stream, such as the server's stop, does not wait for a caller that takes no item.
// The caller then gets the reason.
func TestLocalStreamEndsWithoutItsReader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ended := false
		watch := func(context.Context, *request) (iter.Seq2[*response, error], error) {
			return func(yield func(*response, error) bool) {
				for yield(&response{}, nil) {
				}
				ended = true
			}, nil
		}
		l, s := localapi.New(), chassi.NewService("test.v1.Test", chassi.NewStream("Watch", watch, chassi.Public))
		if err := l.Mount(s); err != nil {
			t.Fatal(err)
		}
		c, err := client.New(s, l)
		if err != nil {
			t.Fatal(err)
		}
		items, err := client.Stream[response](t.Context(), c, "Watch", &request{})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := l.Stop(ctx); err != nil || !ended {
			t.Errorf("%v, the iterator has ended: %v", err, ended)
		}
		for item, err := range items {
			if e := chassi.ErrorOf(err); item != nil || e.Code != chassi.Unavailable || e.RetryAfter == 0 {
				t.Errorf("%v, %v", item, err)
			}
		}
	})
}
