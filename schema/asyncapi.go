package schema

import (
	"fmt"
	"strings"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/schema/gotype"
)

// AsyncAPI returns an AsyncAPI 3.0 document in JSON, which describes the topics in info and all
// endpoints of services that are served over NATS or AMQP. An endpoint has one channel for requests
// and another for replies. A stream also has a channel on which the client controls the stream. A
// topic has one channel. AsyncAPI returns an error if a service, a type or a validate tag is
// invalid, or if names conflict.
func AsyncAPI(info Info, services ...*chassi.Service) ([]byte, error) {
	if err := failed(services); err != nil {
		return nil, err
	}
	messageNames, err := asyncMessageNames(services)
	if err != nil {
		return nil, err
	}
	var channels, operations, messages object
	c, err := newComponents(services, []string{"Error", "Headers"}, func(c *components) {
		channels, operations, messages = make(object), make(object), make(object)
		for _, s := range services {
			for _, e := range s.Endpoints() {
				if e.ServedOver("nats", "amqp") {
					c.channel(e, messageNames, channels, operations, messages)
				}
			}
		}
		for _, t := range info.Topics {
			c.topic(t, channels, operations, messages)
		}
	})
	if err != nil {
		return nil, err
	}
	c.schemas["Error"] = asyncError
	c.schemas["Headers"] = asyncHeaders(info)
	messages["Error"] = object{
		"name": "Error", "title": "An error", "contentType": "application/json",
		"summary": "The response has the header Error-Code.", "payload": object{"$ref": "#/components/schemas/Error"},
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
	return render(document)
}

var (
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

func asyncHeaders(info Info) object {
	properties := object{
		"X-Request-Id":         object{"type": "string", "description": "The id that the log lines of one request share."},
		"X-Request-Timeout-Ms": object{"type": "string", "description": "The time the caller still has, in milliseconds."},
		"Traceparent":          object{"type": "string", "description": "W3C Trace Context."},
	}
	for _, s := range info.security() {
		if s.MutualTLS {
			continue // not in a message
		}
		properties[s.Header] = object{"type": "string", "description": "Where the method needs credentials: " + s.String() + "."}
	}
	return object{"type": "object", "properties": properties}
}

// asyncMessageNames returns the names of the requests, replies and stream items, such as
// GetOrderRequest and GetOrderReply. A name is prefixed with a part of the service name if it would
// not be unique without the prefix. asyncMessageNames returns an error if names still conflict.
func asyncMessageNames(services []*chassi.Service) (map[gotype.Named]string, error) {
	var all []gotype.Named
	for _, s := range services {
		for _, e := range s.Endpoints() {
			if e.ServedOver("nats", "amqp") {
				all = append(all, asyncMessage(e, "Request"), asyncMessage(e, replySuffix(e)))
			}
		}
	}
	names, err := gotype.Names(all, nil, "Error")
	if err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	return names, nil
}

// replySuffix returns the suffix of the name of the message that e returns: "Item" if e is a
// stream, and "Reply" otherwise.
func replySuffix(e *chassi.Endpoint) string {
	if e.Streams() {
		return "Item"
	}
	return "Reply"
}

func asyncMessage(e *chassi.Endpoint, suffix string) gotype.Named {
	return gotype.Named{Fallback: e.Name() + suffix, Scope: serviceOf(e)}
}

// topic adds the message and the channel of t to messages and channels, and adds to operations an
// operation for each direction in which the program uses t.
func (c *components) topic(t Topic, channels, operations, messages object) {
	name := t.Event.Name()
	messages[name] = object{
		"name": name, "title": summary(t.Event), "contentType": "application/json", "headers": object{"$ref": "#/components/schemas/Headers"},
		"payload": c.message(t.Event, t.Event.RequestType(), "", answered, false),
	}
	channels[name] = object{
		"address": "event." + name, "description": summary(t.Event),
		"messages": object{name: object{"$ref": "#/components/messages/" + name}},
		"bindings": object{"amqp": object{"is": "routingKey", "exchange": object{"name": "event." + name, "type": "fanout", "durable": true}}},
	}
	for action, is := range map[string]bool{"send": t.Send, "receive": t.Receive} {
		if is {
			operations[name+"."+action] = object{
				"action": action, "channel": object{"$ref": "#/channels/" + name}, "summary": summary(t.Event),
				"description": description(t.Event), "messages": []any{object{"$ref": "#/channels/" + name + "/messages/" + name}},
			}
		}
	}
}

func (c *components) channel(e *chassi.Endpoint, messageNames map[gotype.Named]string, channels, operations, messages object) {
	id := c.ids[e]
	request, reply := messageNames[asyncMessage(e, "Request")], messageNames[asyncMessage(e, replySuffix(e))]
	headers := object{"$ref": "#/components/schemas/Headers"}
	if more := e.Headers(); len(more) > 0 {
		properties := make(object)
		for name, doc := range more {
			properties[name] = object{"type": "string", "description": doc}
		}
		headers = object{"allOf": []any{headers, object{"type": "object", "properties": properties}}}
	}
	messages[request] = object{
		"name": request, "title": summary(e), "contentType": "application/json", "headers": headers,
		"payload": c.message(e, e.RequestType(), "Request", sent, false),
	}
	replies, bindings := []string{reply, "Error"}, object{"amqp": object{"is": "routingKey", "exchange": object{"name": serviceOf(e), "type": "direct", "durable": true}}}
	if e.Streams() {
		replies, bindings = append(replies, streamReplies...), nil
		c.stream(e, reply, channels, operations, messages)
	} else {
		messages[reply] = object{
			"name": reply, "title": "The response to " + e.Name(), "contentType": "application/json",
			"payload": c.message(e, e.ResponseType(), "Reply", answered, false),
		}
	}
	channel := object{
		"address":     strings.ReplaceAll(e.FullName(), "/", "."),
		"description": summary(e),
		"messages":    messageRefs(request),
	}
	if bindings != nil {
		channel["bindings"] = bindings
	}
	channels[id] = channel
	channels[id+"_reply"] = object{
		"address": nil, "description": "Where the caller wants the response.",
		"messages": messageRefs(replies...),
	}
	var reasons []string
	for _, f := range failures(e, true, false, func(chassi.Code) int { return 0 }) {
		reasons = append(reasons, "`"+f.reason+"` ("+f.code.String()+")")
	}
	operations[id] = object{
		"action": "receive", "channel": object{"$ref": "#/channels/" + id}, "summary": summary(e),
		"description": strings.TrimSpace(e.Doc() + "\n\nErrors: " + strings.Join(reasons, ", ") + "."),
		"messages":    channelRefs(id, request),
		"bindings":    object{"nats": object{"queue": "q", "bindingVersion": "0.1.0"}},
		"reply": object{
			"address":  object{"location": "$message.header#/replyTo", "description": "The reply subject, or the property reply_to."},
			"channel":  object{"$ref": "#/channels/" + id + "_reply"},
			"messages": channelRefs(id+"_reply", replies...),
		},
	}
}

// messageRefs returns references to the named messages of the document, for use in a channel.
func messageRefs(names ...string) object {
	refs := make(object)
	for _, name := range names {
		refs[name] = object{"$ref": "#/components/messages/" + name}
	}
	return refs
}

// channelRefs returns references to the named messages of a channel, for use in an operation.
func channelRefs(channel string, names ...string) (refs []any) {
	for _, name := range names {
		refs = append(refs, object{"$ref": "#/channels/" + channel + "/messages/" + name})
	}
	return refs
}
