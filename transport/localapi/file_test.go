package localapi_test

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/transport/localapi"
)

type closing struct {
	io.Reader

	closed *int
}

func (c closing) Close() error { *c.closed++; return nil }

type document struct{ File chassi.File }

// Files go both ways; the client's file is closed after the call, and the service's file if the
// client does not get it.
func TestLocalCarriesFiles(t *testing.T) {
	t.Parallel()
	var sent, answered int
	s := chassi.NewService("test.v1.Test", chassi.NewEndpoint("Copy", func(_ context.Context, r *document) (*document, error) {
		text, err := io.ReadAll(r.File.Reader)
		if err != nil {
			return nil, err
		}
		return &document{chassi.File{Name: r.File.Name, Reader: closing{strings.NewReader(strings.ToUpper(string(text))), &answered}}}, nil
	}, chassi.Public))
	refuse := false
	l := localapi.New(func(_ *chassi.Binding, next chassi.Handler) chassi.Handler {
		return func(ctx context.Context, call *chassi.Call) error {
			if err := next(ctx, call); err != nil || !refuse {
				return err
			}
			return errGone
		}
	})
	if err := l.Mount(s); err != nil {
		t.Fatal(err)
	}
	c, err := client.New(s, l)
	if err != nil {
		t.Fatal(err)
	}
	got, err := client.Invoke[document](t.Context(), c, "Copy", &document{chassi.File{Name: "a.txt", Reader: closing{strings.NewReader("text"), &sent}}})
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(got.File.Reader); string(text) != "TEXT" || err != nil || got.File.Name != "a.txt" || sent != 1 || answered != 0 {
		t.Errorf("%q, %v, closed %d and %d times", text, err, sent, answered)
	}
	if got, err := client.Invoke[document](t.Context(), c, "Copy", &document{}); err != nil || got.File.Reader == nil {
		t.Errorf("without a file: %v", err)
	}
	refuse = true
	if _, err := client.Invoke[document](t.Context(), c, "Copy", &document{}); err == nil || answered != 1 {
		t.Errorf("a refused file was closed %d times, %v", answered, err)
	}
}
