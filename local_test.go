package chassi_test

import (
	"context"
	"testing"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/transport/localapi"
)

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
