package schema

import (
	"maps"
	"strings"

	"github.com/chassi-go/chassi"
)

// Names of the messages that all streams share. The names of the messages of endpoints end in
// Request, Reply or Item, so that they cannot conflict with these names.
var (
	streamReplies  = []string{"StreamOpen", "StreamHeartbeat", "StreamEnd"}
	streamControls = []string{"StreamRead", "StreamCancel"}
)

// streamMessages returns the descriptions of the messages that all streams share, by name.
func streamMessages() object {
	return object{
		"StreamOpen": streamMessage("open", "The stream is open.", object{
			"Stream-Control":      object{"type": "string", "description": "The control subject is the subject of the request, a dot, and this."},
			"Stream-Heartbeat-Ms": object{"type": "string", "description": "The interval of heartbeats of both sides, in milliseconds."},
		}),
		"StreamHeartbeat": streamMessage("heartbeat", "The stream is open, and has had no item for an interval.", nil),
		"StreamEnd":       streamMessage("end", "All items were sent. Without a StreamOpen before it there is nothing to send.", nil),
		"StreamRead": streamMessage("read", "The client has read the item with the number Stream-Seq: the server sends at most 64 more, and none while 1 MiB is unread. "+
			"It is the client's heartbeat, too.", nil),
		"StreamCancel": streamMessage("cancel", "The client has left the stream.", nil),
	}
}

// streamMessage returns the description of a message of the given kind that has headers but no
// payload.
func streamMessage(kind, text string, headers object) object {
	return object{"name": "Stream" + strings.ToUpper(kind[:1]) + kind[1:], "title": text, "contentType": "text/plain", "headers": streamHeaders(kind, headers)}
}

func streamHeaders(kind string, more object) object {
	properties := object{
		"Stream-Kind": object{"const": kind},
		"Stream-Seq":  object{"type": "string", "description": "The number of the last item: 1, 2 and so on; 0 before the first one."},
	}
	maps.Copy(properties, more)
	return object{"type": "object", "properties": properties, "required": []string{"Stream-Kind"}}
}

// stream adds the message of an item of e, the messages that all streams share, and the channel and
// the operation with which a client controls a stream of e.
func (c *components) stream(e *chassi.Endpoint, item string, channels, operations, messages object) {
	messages[item] = object{
		"name": item, "title": "An item of " + e.Name(), "contentType": "application/json", "headers": streamHeaders("item", nil),
		"payload": c.message(e, e.ResponseType(), replySuffix(e), answered, false),
	}
	maps.Copy(messages, streamMessages())
	id := c.ids[e] + "_control"
	channels[id] = object{
		"address":     strings.ReplaceAll(e.FullName(), "/", ".") + ".stream.{instance}.{stream}",
		"description": "Where the client controls a stream of " + e.Name() + ": the subject of the request, a dot, and Stream-Control of StreamOpen. NATS only.",
		"parameters": object{
			"instance": object{"description": "A word of the instance of the service."}, "stream": object{"description": "A random word of the stream."},
		},
		"messages": messageRefs(streamControls...),
	}
	operations[id] = object{
		"action": "receive", "channel": object{"$ref": "#/channels/" + id}, "summary": "Controls a stream of " + e.Name(),
		"messages": channelRefs(id, streamControls...),
	}
}
