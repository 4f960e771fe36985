package schema

import (
	"strings"

	"github.com/chassi-go/chassi"
)

// AsyncAPI describes the endpoints of services as they are served over NATS and
// AMQP, in AsyncAPI 3.0: a channel for each method, a request and its reply.
func AsyncAPI(info Info, services ...*chassi.Service) ([]byte, error) {
	c := newComponents()
	channels, operations, messages := make(object), make(object), make(object)
	for _, s := range services {
		if err := s.Err(); err != nil {
			return nil, err
		}
		for _, e := range s.Endpoints() {
			c.channel(s, e, channels, operations, messages)
		}
	}
	c.schemas["Error"] = asyncError
	c.schemas["Headers"] = asyncHeaders
	messages["Error"] = object{
		"name": "Error", "title": "An error", "contentType": "application/json",
		"summary": "The answer has the header Error-Code.", "payload": object{"$ref": "#/components/schemas/Error"},
	}
	about := info.object()
	if info.License != "" {
		about["license"] = object{"name": info.License}
	}
	document := object{
		"asyncapi": "3.0.0", "info": about, "defaultContentType": "application/json",
		"servers": object{
			"nats": object{"host": "127.0.0.1:4223", "protocol": "nats", "description": "The subject of a method is its address; the reply goes to the reply subject. Clients need credentials: docs/brokers.md."},
			"amqp": object{"host": "127.0.0.1:5672", "protocol": "amqp", "description": "The routing key of a method, on the exchange that its binding names, is its address; " +
				"the reply goes to reply_to with the correlation_id: direct reply-to, or the queue reply.USER or reply.USER.*, where USER is the user_id of the request."},
		},
		"channels": channels, "operations": operations, "components": object{"schemas": c.schemas, "messages": messages},
	}
	return join(document, c.err)
}

var (
	asyncHeaders = object{"type": "object", "properties": object{
		"X-Request-Id":         object{"type": "string", "description": "The id that the log lines of one request share."},
		"X-Request-Timeout-Ms": object{"type": "string", "description": "The time the caller still has, in milliseconds."},
		"Traceparent":          object{"type": "string", "description": "W3C Trace Context."},
		"Authorization":        object{"type": "string", "description": "Bearer and a token, where the method needs one."},
	}}

	asyncError = object{
		"type": "object", "required": []string{"code", "error", "message"},
		"properties": object{
			"code":           object{"type": "string", "enum": codeNames()},
			"error":          object{"type": "string", "description": "The stable reason, for programs."},
			"message":        object{"type": "string", "description": "The message, for people."},
			"violations":     violationsSchema,
			"retry_after_ms": object{"type": "integer"},
			"details":        detailsSchema,
		},
	}
)

func (c *components) channel(s *chassi.Service, e *chassi.Endpoint, channels, operations, messages object) {
	id := operationID(s, e)
	request, reply := e.Name()+"Request", e.Name()+"Reply"
	messages[request] = object{
		"name": request, "title": summary(e), "contentType": "application/json", "headers": object{"$ref": "#/components/schemas/Headers"},
		"payload": object{"$ref": "#/components/schemas/" + c.structOf(e.RequestType(), request, sent)},
	}
	messages[reply] = object{
		"name": reply, "title": "The answer to " + e.Name(), "contentType": "application/json",
		"payload": object{"$ref": "#/components/schemas/" + c.structOf(e.ResponseType(), reply, answered)},
	}
	channels[id] = object{
		"address":     strings.ReplaceAll(e.FullName(), "/", "."),
		"description": summary(e),
		"messages":    object{request: object{"$ref": "#/components/messages/" + request}},
		"bindings":    object{"amqp": object{"is": "routingKey", "exchange": object{"name": s.Name(), "type": "direct", "durable": true}}},
	}
	channels[id+"_reply"] = object{
		"address": nil, "description": "Where the caller wants the answer.",
		"messages": object{reply: object{"$ref": "#/components/messages/" + reply}, "Error": object{"$ref": "#/components/messages/Error"}},
	}
	var reasons []string
	for _, f := range failures(e, true, false, func(chassi.Code) int { return 0 }) {
		reasons = append(reasons, "`"+f.reason+"` ("+f.code.String()+")")
	}
	operations[id] = object{
		"action": "receive", "channel": object{"$ref": "#/channels/" + id}, "summary": summary(e),
		"description": strings.TrimSpace(e.Doc() + "\n\nErrors: " + strings.Join(reasons, ", ") + "."),
		"messages":    []any{object{"$ref": "#/channels/" + id + "/messages/" + request}},
		"bindings":    object{"nats": object{"queue": "q", "bindingVersion": "0.1.0"}},
		"reply": object{
			"address": object{"location": "$message.header#/replyTo", "description": "The reply subject, or the property reply_to."},
			"channel": object{"$ref": "#/channels/" + id + "_reply"},
			"messages": []any{
				object{"$ref": "#/channels/" + id + "_reply/messages/" + reply}, object{"$ref": "#/channels/" + id + "_reply/messages/Error"},
			},
		},
	}
}
