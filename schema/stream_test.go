package schema_test

import (
	"context"
	"iter"
	"testing"

	"github.com/chassi-go/chassi"
)

func TestStreamsInOpenAPI(t *testing.T) {
	t.Parallel()
	type tick struct {
		ID string `json:"id" stream:"id"`
	}
	s := chassi.NewService("clock.v1.Clock", chassi.NewStream("Watch",
		func(context.Context, *struct{}) (iter.Seq2[*tick, error], error) { return nil, nil }, chassi.Route("GET /v1/ticks"), chassi.Public))
	d := openAPI(t, s)
	if got := at(t, d, "openapi"); got != "3.2.0" {
		t.Errorf("version %v", got)
	}
	responses := []string{"paths", "/v1/ticks", "get", "responses"}
	if got := names(t, d, append(responses, "200", "content")...); got != "application/jsonl text/event-stream" {
		t.Errorf("formats %s", got)
	}
	same(t, "a line", at(t, d, append(responses, "200", "content", "application/jsonl", "itemSchema", "oneOf")...), `[
		{"type":"object","properties":{"item":{"$ref":"#/components/schemas/Tick"}},"required":["item"]},
		{"type":"object","properties":{"error":{"$ref":"#/components/schemas/Problem"}},"required":["error"]},
		{"type":"object","properties":{"end":{"type":"boolean","const":true}},"required":["end"]},
		{"type":"object","properties":{"heartbeat":{"type":"boolean","const":true}},"required":["heartbeat"]}]`)
	if got := at(t, d, append(responses, "204", "description")...); got != "There is nothing to send, now or later." {
		t.Errorf("nothing: %v", got)
	}
	if got := at(t, openAPI(t, shop()), "openapi"); got != "3.1.0" {
		t.Errorf("without a stream: version %v", got)
	}
}
