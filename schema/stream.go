package schema

import (
	"net/http"
	"strconv"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/transport"
)

// streamResponses returns the descriptions of the successful responses of e, a stream, by status:
// items as JSON Lines, or as Server-Sent Events for clients that accept them, and no content if
// there is nothing to send.
func (c *components) streamResponses(e *chassi.Endpoint) object {
	item := c.message(e, e.ResponseType(), "Item", answered, false)
	problem := object{"$ref": "#/components/schemas/Problem"}
	line := func(member string, value object) object {
		return object{"type": "object", "properties": object{member: value}, "required": []string{member}}
	}
	yes := object{"type": "boolean", "const": true}
	event := func(name string, data object) object {
		properties := object{"data": object{"type": "string", "contentMediaType": "application/json", "contentSchema": data}}
		required := []string{"data"}
		if name != "" {
			properties["event"] = object{"type": "string", "const": name}
			required = append(required, "event")
		}
		return object{"type": "object", "properties": properties, "required": required}
	}
	items := event("", item)
	properties, _ := items["properties"].(object)
	properties["id"] = object{"type": "string", "description": "The position to continue after, as Last-Event-ID."}
	failure := event("error", problem)
	properties, _ = failure["properties"].(object)
	properties["retry"] = object{"type": "integer", "description": "Milliseconds until the stream may be opened again."}
	empty := object{"type": "object"}
	return object{
		strconv.Itoa(http.StatusOK): object{
			"description": "A stream of items. It is complete only if its last message says so.",
			"headers": object{
				"X-Request-Id": requestIDHeader["X-Request-Id"],
				transport.HeartbeatKey: object{
					"description": "The interval of heartbeats in milliseconds; after three without any message the stream is broken.", "schema": object{"type": "integer"},
				},
			},
			"content": object{
				"application/jsonl": object{"itemSchema": object{
					"description": "A line.",
					"oneOf":       []any{line("item", item), line("error", problem), line("end", yes), line("heartbeat", yes)},
				}},
				"text/event-stream": object{"itemSchema": object{
					"description": "An event.",
					"oneOf":       []any{items, failure, event("end", empty), event("ping", empty)},
				}},
			},
		},
		strconv.Itoa(http.StatusNoContent): object{"description": "There is nothing to send, now or later.", "headers": requestIDHeader},
	}
}
