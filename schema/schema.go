// Package schema generates documents that describe services: OpenAPI 3.1 for HTTP (3.2 if there
// are streams), and AsyncAPI 3.0 for NATS and AMQP. The documents are derived from the same types,
// routes, policies and tags that serve the calls. The subpackage protobuf generates .proto files
// for gRPC.
//
// A schema has the short name of its type. If names conflict, the names of schemas are prefixed
// with a part of the Go import path, and the names of operations, channels and messages are
// prefixed with the service name or a part of it. A type that is used in requests and responses has
// a second schema for requests, with the suffix Input. A second schema without the fields that HTTP
// carries outside of the body has the suffix Body, or InputBody.
//
// Tags and options add what types cannot express: the tags `doc:"..."` and `example:"..."` of a
// field, and the options [chassi.Doc] and [chassi.Errors] of an endpoint. The rules in validate
// tags become constraints of the fields of requests; in responses, only lists of permitted values
// do.
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
	Version     string // version of the described interface: "1.2.0"
	Description string
	License     string   // an SPDX identifier: "Apache-2.0"
	Contact     string   // a URL
	Servers     []string // URLs of the servers, for OpenAPI

	// Security lists the credentials that an endpoint accepts unless it is public. The default is
	// a bearer token.
	Security []SecurityScheme

	// Topics lists the topics of events that AsyncAPI describes.
	Topics []Topic
}

// Topic is a topic of events that a program publishes, receives, or both.
type Topic struct {
	Event         *chassi.Endpoint // named like the topic; its request type is the type of the events
	Send, Receive bool             // whether the program publishes and receives the events
}

// object is a JSON object. Members are encoded in the order of their names.
type object = map[string]any

// ordered is a JSON object whose members are encoded in the order in which they were added.
type ordered struct {
	keys   []string
	values object
}

// set sets the member key to value. A new member becomes the last member.
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

// summary returns the first sentence of the documentation of e, up to the end of the first line,
// without its period, or the name of e if there is no documentation.
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

// description returns the documentation of e without the first sentence. If there is no further
// text, it returns the summary as a sentence, so that a description is never empty.
func description(e *chassi.Endpoint) string {
	rest := strings.TrimSpace(strings.TrimPrefix(strings.TrimPrefix(e.Doc(), summary(e)), "."))
	if rest == "" {
		return summary(e) + "."
	}
	return rest
}
