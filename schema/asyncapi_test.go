package schema_test

import (
	"context"
	"iter"
	"strings"
	"testing"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/schema"
)

// All endpoints have a channel, whether they have a route or not.
func TestChannels(t *testing.T) {
	t.Parallel()
	s := shop()
	s.Document("Put", map[string]string{"Idempotency-Key": "One for each call."})
	d := asyncAPI(t, s)
	if got := names(t, d, "channels"); got != "Shop_Clear Shop_Clear_reply Shop_Put Shop_Put_reply Shop_Sweep Shop_Sweep_reply" {
		t.Errorf("channels %s", got)
	}
	same(t, "the channel", at(t, d, "channels", "Shop_Put"), `{"address":"shop.v1.Shop.Put","description":"Stores <an item>",
		"messages":{"PutRequest":{"$ref":"#/components/messages/PutRequest"}},
		"bindings":{"amqp":{"is":"routingKey","exchange":{"name":"shop.v1.Shop","type":"direct","durable":true}}}}`)
	same(t, "the channel of replies", at(t, d, "channels", "Shop_Put_reply"), `{"address":null,"description":"Where the caller wants the response.",
		"messages":{"PutReply":{"$ref":"#/components/messages/PutReply"},"Error":{"$ref":"#/components/messages/Error"}}}`)
	same(t, "the request", at(t, d, "components", "messages", "PutRequest"), `{"name":"PutRequest","title":"Stores <an item>","contentType":"application/json",
		"payload":{"$ref":"#/components/schemas/PutRequest"},"headers":{"allOf":[{"$ref":"#/components/schemas/Headers"},
			{"type":"object","properties":{"Idempotency-Key":{"type":"string","description":"One for each call."}}}]}}`)
	if got := at(t, d, "channels", "Shop_Sweep", "description"); got != "Deletes what is old" {
		t.Errorf("the first sentence: %v", got)
	}
	same(t, "a message without members", at(t, d, "components", "schemas", "SweepRequest"), `{"type":"object","properties":{},"additionalProperties":false}`)
	same(t, "the headers of others", at(t, d, "components", "messages", "ClearRequest", "headers"), `{"$ref":"#/components/schemas/Headers"}`)
	same(t, "the reply", at(t, d, "components", "messages", "PutReply"), `{"name":"PutReply","title":"The response to Put","contentType":"application/json",
		"payload":{"$ref":"#/components/schemas/PutResponse"}}`)
	same(t, "an error", at(t, d, "components", "messages", "Error"), `{"name":"Error","title":"An error","contentType":"application/json",
		"summary":"The response has the header Error-Code.","payload":{"$ref":"#/components/schemas/Error"}}`)
	if got := names(t, d, "components", "schemas"); got != "ClearReply ClearRequest Error Headers Item Maker PutRequest PutResponse SweepReply SweepRequest" {
		t.Errorf("schemas %s", got)
	}
	if got := names(t, d, "components", "schemas", "PutRequest", "properties"); got != "code kinds maker more name price size sold" {
		t.Errorf("members %s", got)
	}
}

func TestOperationsOfChannels(t *testing.T) {
	t.Parallel()
	d := asyncAPI(t, shop())
	same(t, "the operation", at(t, d, "operations", "Shop_Put"), `{"action":"receive","channel":{"$ref":"#/channels/Shop_Put"},"summary":"Stores <an item>",
		"description":"Stores <an item>. It replaces an earlier one.\n\nIts id stays.\n\nErrors: `+
		"`malformed_request` (invalid_argument), `invalid_request` (invalid_argument), `unauthenticated` (unauthenticated), `invalid_token` (unauthenticated), "+
		"`permission_denied` (permission_denied), `item_changed` (aborted), `rate_limited` (resource_exhausted), `too_many_concurrent_calls` (resource_exhausted), "+
		"`overloaded` (unavailable), `unavailable` (unavailable), `internal` (internal), `deadline_exceeded` (deadline_exceeded)."+`",
		"messages":[{"$ref":"#/channels/Shop_Put/messages/PutRequest"}],"bindings":{"nats":{"queue":"q","bindingVersion":"0.1.0"}},
		"reply":{"address":{"location":"$message.header#/replyTo","description":"The reply subject, or the property reply_to."},
			"channel":{"$ref":"#/channels/Shop_Put_reply"},
			"messages":[{"$ref":"#/channels/Shop_Put_reply/messages/PutReply"},{"$ref":"#/channels/Shop_Put_reply/messages/Error"}]}}`)
	if got, _ := at(t, d, "operations", "Shop_Clear", "description").(string); !strings.HasPrefix(got, "Errors: `malformed_request`") || strings.Contains(got, "unauthenticated") {
		t.Errorf("without a text of its own, and public: %s", got)
	}
}

// A stream has several replies, and a channel on which the client controls it.
func TestChannelsOfStreams(t *testing.T) {
	t.Parallel()
	watch := func(context.Context, *Address) (iter.Seq2[*Address, error], error) { return nil, nil }
	d := asyncAPI(t, chassi.NewService("a.v1.A", chassi.NewStream("Watch", watch, chassi.Public), endpoint[Address, Address]("Do")))
	if got := names(t, d, "channels"); got != "A_Do A_Do_reply A_Watch A_Watch_control A_Watch_reply" {
		t.Errorf("channels %s", got)
	}
	if got := names(t, d, "channels", "A_Watch"); got != "address description messages" { // AMQP carries no streams
		t.Errorf("the channel has %s", got)
	}
	if got := names(t, d, "channels", "A_Watch_reply", "messages"); got != "Error StreamEnd StreamHeartbeat StreamOpen WatchItem" {
		t.Errorf("replies %s", got)
	}
	same(t, "the references to replies", at(t, d, "operations", "A_Watch", "reply", "messages"), `[{"$ref":"#/channels/A_Watch_reply/messages/WatchItem"},
		{"$ref":"#/channels/A_Watch_reply/messages/Error"},{"$ref":"#/channels/A_Watch_reply/messages/StreamOpen"},
		{"$ref":"#/channels/A_Watch_reply/messages/StreamHeartbeat"},{"$ref":"#/channels/A_Watch_reply/messages/StreamEnd"}]`)
	same(t, "the control subject", at(t, d, "channels", "A_Watch_control", "address"), `"a.v1.A.Watch.stream.{instance}.{stream}"`)
	same(t, "control messages", at(t, d, "operations", "A_Watch_control", "messages"), `[{"$ref":"#/channels/A_Watch_control/messages/StreamRead"},
		{"$ref":"#/channels/A_Watch_control/messages/StreamCancel"}]`)
	same(t, "the kind of an item", at(t, d, "components", "messages", "WatchItem", "headers", "properties", "Stream-Kind"), `{"const":"item"}`)
	same(t, "the payload of an item", at(t, d, "components", "messages", "WatchItem", "payload"), `{"$ref":"#/components/schemas/Address"}`)
	if got := names(t, d, "components", "messages"); got != "DoReply DoRequest Error StreamCancel StreamEnd StreamHeartbeat StreamOpen StreamRead WatchItem WatchRequest" {
		t.Errorf("messages %s", got)
	}
}

// Services whose names differ in nothing that the names of messages keep are refused.
func TestMessagesWithAmbiguousNames(t *testing.T) {
	t.Parallel()
	do := func() *chassi.Endpoint { return endpoint[Address, Address]("Do") }
	_, err := schema.AsyncAPI(info, chassi.NewService("a.v1.A", do()), chassi.NewService("a.v1.a", do()))
	if err == nil || !strings.Contains(err.Error(), "a.v1.A.DoReply and a.v1.a.DoReply have the same name DoReply") {
		t.Errorf("%v", err)
	}
}
