package broker_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/broker"
	"github.com/chassi-go/chassi/transport"
)

// Whatever a service returns over a broker is a result or one error with a code.
func TestResponsesOfHostileServices(t *testing.T) {
	t.Parallel()
	type reply struct {
		Text string `json:"text"`
	}
	e := chassi.NewEndpoint("M", func(context.Context, *struct{}) (*reply, error) { return nil, nil }, chassi.Public)
	chassi.NewService("t.v1.T", e)
	remote, err := broker.NewRemote(e)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		code, kind, body string
		want             chassi.Code
		delay            time.Duration
	}{
		"malformed JSON":      {"", broker.JSON, "{", chassi.Internal, 0},
		"HTML":                {"", "text/html", "<html>", chassi.Internal, 0},
		"malformed protobuf":  {"", broker.Protobuf, "\xff\xff\xff", chassi.Internal, 0},
		"deep":                {"", broker.JSON, strings.Repeat("[", 1<<20), chassi.Internal, 0},
		"unknown code":        {"no_such_code", broker.JSON, "{}", chassi.Unknown, 0},
		"success as an error": {"ok", broker.JSON, `{"code":"ok","error":"x"}`, chassi.Unknown, 0},
		"malformed error":     {"not_found", broker.JSON, "{", chassi.NotFound, 0},
		"another type":        {"not_found", broker.JSON, "[]", chassi.NotFound, 0},
		"absurd delay":        {"unavailable", broker.JSON, `{"code":"unavailable","error":"x","retry_after_ms":9223372036854775807}`, chassi.Unavailable, 24 * time.Hour},
		"negative delay":      {"unavailable", broker.JSON, `{"code":"unavailable","error":"x","retry_after_ms":-5}`, chassi.Unavailable, 0},
	} {
		out := transport.Pairs{}
		out.Set(broker.ContentTypeKey, c.kind)
		if c.code != "" {
			out.Set(broker.CodeKey, c.code)
		}
		err := remote.Read(&chassi.Call{Out: &out, Response: new(reply)}, []byte(c.body))
		got, ok := errors.AsType[*chassi.Error](err)
		if !ok || got.Code != c.want || got.RetryAfter != c.delay {
			t.Errorf("%s: %+v, want %v after %v", name, err, c.want, c.delay)
		}
	}
}
