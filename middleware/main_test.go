package middleware_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"testing"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/transport/localapi"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// invoke returns a function that calls e in process through mw.
func invoke[Req any](e *chassi.Endpoint, mw chassi.Middleware) func(context.Context, *Req) error {
	service := chassi.NewService("test.v1.Test", e)
	local := localapi.New(mw)
	c, err := &client.Client{}, local.Mount(service)
	if err == nil {
		c, err = client.New(service, local)
	}
	return func(ctx context.Context, r *Req) error {
		if err != nil {
			return err
		}
		_, err := client.Invoke[struct{}](ctx, c, e.Name(), r)
		return err
	}
}

// lines is a logger and what it wrote.
type lines struct{ bytes.Buffer }

func (l *lines) logger() *slog.Logger {
	return slog.New(slog.NewJSONHandler(&l.Buffer, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// one returns the only line.
func (l *lines) one(t *testing.T) map[string]any {
	t.Helper()
	var line map[string]any
	if bytes.Count(l.Bytes(), []byte{'\n'}) != 1 {
		t.Fatalf("want one line:\n%s", l)
	}
	if err := json.Unmarshal(l.Bytes(), &line); err != nil {
		t.Fatal(err)
	}
	return line
}
