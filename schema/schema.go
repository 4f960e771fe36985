// Package schema generates documents that describe services: OpenAPI 3.1 for HTTP (3.2 if there
// are streams), AsyncAPI 3.0 for NATS and AMQP. The documents are derived from the same types,
// routes, policies and tags that serve the calls. The subpackage protobuf generates .proto files
// for gRPC.
//
// A schema has the short name of its type. If names conflict, those of types are prefixed with a
// part of the Go package, and those of operations, channels and messages with the service name
// or a part of it. A type that is used in requests and responses has a second schema for
// requests, with the suffix Input.
//
// Tags and options add what types cannot express: `doc:"..."` and `example:"..."` of a field,
// [chassi.Doc] and [chassi.Errors] of an endpoint. The validate tags become constraints of the
// fields.
package schema

import (
	"fmt"
	"strings"

	"github.com/chassi-go/chassi"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Info is the general information in a document.
type Info struct {
	Title       string
	Version     string // of the contract: "1.2.0"
	Description string
	License     string // an SPDX identifier: "Apache-2.0"
	Contact     string // a URL
	Servers     []string

	// Security lists the credentials that endpoints accept unless they are public. The default
	// is a bearer token.
	Security []SecurityScheme

	// Topics are the events in the AsyncAPI document.
	Topics []Topic
}

// Topic is a topic of events that a program publishes, receives, or both.
type Topic struct {
	Event         *chassi.Endpoint // named like the topic; its request type is the type of the events
	Send, Receive bool
}

// object is a JSON object. Members are written in the order of their names.
type object = map[string]any

// ordered is an object whose members keep their order.
type ordered struct {
	keys   []string
	values object
}

// set sets a member. A new member becomes the last one.
func (o *ordered) set(key string, value any) {
	if o.values == nil {
		o.values = make(object)
	}
	if _, there := o.values[key]; !there {
		o.keys = append(o.keys, key)
	}
	o.values[key] = value
}

// MarshalJSONTo implements [json.MarshalerTo].
func (o *ordered) MarshalJSONTo(e *jsontext.Encoder) error {
	if err := e.WriteToken(jsontext.BeginObject); err != nil {
		return err //nolint:wrapcheck // render says where
	}
	for _, key := range o.keys {
		if err := e.WriteToken(jsontext.String(key)); err != nil {
			return err //nolint:wrapcheck // render says where
		}
		if err := json.MarshalEncode(e, o.values[key]); err != nil {
			return err //nolint:wrapcheck // render says where
		}
	}
	return e.WriteToken(jsontext.EndObject) //nolint:wrapcheck // render says where
}

func render(document object) ([]byte, error) {
	b, err := json.Marshal(document, json.Deterministic(true), jsontext.WithIndent("  "))
	if err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	return append(b, '\n'), nil
}

func (i Info) object() object {
	o := object{"title": i.Title, "version": i.Version}
	if i.Description != "" {
		o["description"] = i.Description
	}
	if i.License != "" {
		o["license"] = object{"name": i.License, "identifier": i.License}
	}
	if i.Contact != "" {
		o["contact"] = object{"name": i.Title, "url": i.Contact}
	}
	return o
}

// summary returns the first sentence of the documentation of e, or the name of e if there is
// none.
func summary(e *chassi.Endpoint) string {
	first, _, _ := strings.Cut(e.Doc(), "\n")
	if i := strings.Index(first, ". "); i >= 0 {
		first = first[:i]
	}
	if first = strings.TrimSuffix(first, "."); first == "" {
		return e.Name()
	}
	return first
}

// description returns the text of an endpoint after its summary, or the summary if there is no more
// text, because OpenAPI requires both.
func description(e *chassi.Endpoint) string {
	rest := strings.TrimSpace(strings.TrimPrefix(strings.TrimPrefix(e.Doc(), summary(e)), "."))
	if rest == "" {
		return summary(e) + "."
	}
	return rest
}
