// Package schema describes services to those who do not read Go: OpenAPI 3.1 for
// HTTP, AsyncAPI 3.0 for NATS and AMQP. The documents come from the same types,
// routes, policies and tags that serve the calls. Package protobuf, below, does
// the same for gRPC.
//
// What types cannot say, tags and options do: `doc:"..."` and `example:"..."` of a
// field, [chassi.Doc] and [chassi.Errors] of an endpoint. The validate tags become
// the bounds of the fields.
package schema

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/chassi-go/chassi"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Info is what a document says of itself.
type Info struct {
	Title       string
	Version     string // of the contract: "1.2.0"
	Description string
	License     string // an SPDX identifier: "Apache-2.0"
	Contact     string // a URL
	Servers     []string
}

// object is a JSON object. Members are written in the order of their names.
type object = map[string]any

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

// summary is the first sentence of a text.
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

// failure is one error that an endpoint can answer.
type failure struct {
	code            chassi.Code
	status          int
	reason, message string
}

// failures lists what e can answer besides success: its domain errors and those
// of the middleware that package standard puts around every call. HasInput tells
// whether there is anything to be malformed.
func failures(e *chassi.Endpoint, hasInput, hasBody bool, statusOf func(chassi.Code) int) []failure {
	var list []failure
	add := func(code chassi.Code, reason, message string) {
		list = append(list, failure{code, statusOf(code), reason, message})
	}
	if hasInput {
		add(chassi.InvalidArgument, "malformed_request", "The request is malformed")
		add(chassi.InvalidArgument, "invalid_request", "The request is invalid")
	}
	if hasBody {
		const mediaType = "The body must be application/json in UTF-8, not compressed"
		list = append(list, failure{chassi.ResourceExhausted, http.StatusRequestEntityTooLarge, "body_too_large", "The body is too large"},
			failure{chassi.InvalidArgument, http.StatusUnsupportedMediaType, "unsupported_media_type", mediaType},
			failure{chassi.DeadlineExceeded, http.StatusRequestTimeout, "body_timeout", "The body took too long to arrive"})
	}
	if !e.Public() {
		add(chassi.Unauthenticated, "unauthenticated", "This call needs credentials")
		add(chassi.Unauthenticated, "invalid_token", "Invalid token")
	}
	if len(e.Permissions()) > 0 {
		add(chassi.PermissionDenied, "permission_denied", "You may not make this call")
	}
	for _, err := range e.Errors() {
		add(err.Code, err.Reason, err.Message)
	}
	add(chassi.ResourceExhausted, "rate_limited", "Too many requests")
	add(chassi.Internal, "internal", "Internal error")
	add(chassi.DeadlineExceeded, "deadline_exceeded", "The request took too long")
	seen := make(map[string]bool)
	distinct := list[:0]
	for _, f := range list {
		if key := fmt.Sprint(f.status, f.reason); !seen[key] {
			seen[key] = true
			distinct = append(distinct, f)
		}
	}
	return distinct
}
