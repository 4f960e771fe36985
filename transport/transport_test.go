package transport_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/transport"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPairs(t *testing.T) {
	t.Parallel()
	var p transport.Pairs
	p.Set("Content-Type", "a")
	p.Set("X-Other", "b")
	p.Set("content-TYPE", "c")
	if len(p) != 2 || p.Get("CONTENT-type") != "c" || p.Get("x-other") != "b" || p.Get("none") != "" || p[0].Key != "Content-Type" {
		t.Errorf("%v", p)
	}
}

func TestTimeouts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var p transport.Pairs
		if transport.SetTimeout(t.Context(), &p); len(p) != 0 {
			t.Errorf("%v of a context without an end", p)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		transport.SetTimeout(ctx, &p)
		if d, ok := transport.CallerTimeout(&p); !ok || d != 1500*time.Millisecond {
			t.Errorf("%v, %v", d, ok)
		}
		<-ctx.Done()
		transport.SetTimeout(ctx, &p)
		if d, ok := transport.CallerTimeout(&p); !ok || d != 0 {
			t.Errorf("past its end: %v, %v", d, ok)
		}
	})
	for _, bad := range []string{"", "soon", "-1", "1.5", "99999999999999999999"} {
		p := transport.Pairs{{Key: transport.TimeoutKey, Value: bad}}
		if d, ok := transport.CallerTimeout(&p); ok {
			t.Errorf("%q was read as %v", bad, d)
		}
	}
}

func TestEachCodeHasItsStatus(t *testing.T) {
	t.Parallel()
	for _, code := range chassi.Codes() {
		if status := transport.HTTPStatus(code); status < 400 {
			t.Errorf("%v has %d", code, status)
		}
	}
	if transport.HTTPStatus(99) != 500 || transport.CodeStatus(nil, nil) != 0 || transport.CodeStatus(nil, chassi.NewError(5, "a", "b")) != 5 {
		t.Error("what is no code")
	}
}

func TestInFlight(t *testing.T) {
	t.Parallel()
	var f transport.InFlight
	b, a := f.Route("b"), f.Route("a")
	for i, route := range []*transport.RouteInFlight{a, b, a} {
		if !route.Acquire() {
			t.Errorf("call %d was refused", i)
		}
	}
	if f.Len() != 3 || f.String() != "a (2), b (1)" {
		t.Errorf("%d: %s", f.Len(), &f)
	}
	b.Release()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Close(ctx); err == nil || !strings.Contains(err.Error(), "a (2)") {
		t.Error(err)
	}
	if b.Acquire() || f.Len() != 2 {
		t.Fatal("a call was counted after Close")
	}
	done := make(chan error)
	go func() { done <- f.Close(context.Background()) }()
	a.Release()
	a.Release()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := new(transport.InFlight).Close(t.Context()); err != nil {
		t.Error(err)
	}
}
