package schema

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/schema/gotype"
	"github.com/chassi-go/chassi/transport"
	"github.com/chassi-go/chassi/validation"
)

// OpenAPI returns an OpenAPI 3.1 document in JSON, which describes all endpoints of services that
// have a route and are served over HTTP. It includes the errors of the endpoints and of the
// middleware of package standard. If an endpoint is a stream, the document has version 3.2, because
// earlier versions cannot describe the items of a stream. OpenAPI returns an error if a service, a
// type or a validate tag is invalid, or if names or routes conflict.
func OpenAPI(info Info, services ...*chassi.Service) ([]byte, error) {
	if err := failed(services); err != nil {
		return nil, err
	}
	var paths *ordered
	c, err := newComponents(services, []string{"Problem"}, func(c *components) { paths = c.paths(info, services) })
	if err != nil {
		return nil, err
	}
	if len(paths.keys) > 0 {
		c.schemas["Problem"] = problemSchema
	}
	tags := []any{}
	for _, s := range services {
		tags = append(tags, object{"name": s.Name(), "description": "The service " + s.Name()})
	}
	parts := object{"schemas": c.schemas}
	if needsCredentials(services) {
		parts["securitySchemes"] = info.securitySchemes()
	}
	version := "3.1.0"
	if c.streams {
		version = "3.2.0"
	}
	document := object{"openapi": version, "info": info.object(), "tags": tags, "paths": paths, "components": parts}
	if len(info.Servers) > 0 {
		var servers []any
		for _, url := range info.Servers {
			servers = append(servers, object{"url": url})
		}
		document["servers"] = servers
	}
	return render(document)
}

// paths returns the descriptions of the endpoints that have a route and are served over HTTP, by
// path and method. They are in the order of the services and their endpoints, in which the
// documentation page shows them. For conflicting routes, an error is added to c.errs.
func (c *components) paths(info Info, services []*chassi.Service) *ordered {
	paths, taken := new(ordered), make(map[string]*chassi.Endpoint)
	for _, s := range services {
		for _, e := range s.Endpoints() {
			method, pattern := e.Route()
			if method == "" || !e.ServedOver("http") {
				continue
			}
			path := openPath(pattern)
			if other := taken[method+" "+path]; other != nil {
				c.errs = append(c.errs, fmt.Errorf("schema: endpoints %s and %s have the same route %s %s", other.FullName(), e.FullName(), method, path))
			}
			taken[method+" "+path] = e
			item, _ := paths.values[path].(*ordered)
			if item == nil {
				item = new(ordered)
				paths.set(path, item)
			}
			item.set(strings.ToLower(method), c.operation(info, e))
		}
	}
	return paths
}

var restWildcard = regexp.MustCompile(`\{(\w+)\.\.\.\}`)

// openPath converts a pattern of ServeMux to a path in the notation of OpenAPI.
func openPath(pattern string) string {
	return restWildcard.ReplaceAllString(strings.TrimSuffix(pattern, "{$}"), "{$1}")
}

func (c *components) operation(info Info, e *chassi.Endpoint) object {
	op := object{"operationId": c.ids[e], "summary": summary(e), "tags": []string{serviceOf(e)}, "security": []any{}}
	op["description"] = description(e)
	if !e.Public() {
		op["security"] = info.securityRequirements()
	}
	if e.RequestType() == nil {
		return c.handlerOperation(op, e)
	}
	parameters, hasBody, needsBody := c.parameters(e)
	if len(parameters) > 0 {
		op["parameters"] = parameters
	}
	sentFile, _ := e.Files()
	switch {
	case sentFile:
		op["requestBody"] = object{"required": true, "content": c.fileContent(e)}
	case hasBody:
		ref := c.message(e, e.RequestType(), "Request", sent, true)
		op["requestBody"] = object{"required": needsBody, "content": object{"application/json": object{"schema": ref}}}
	}
	responses := c.successes(e)
	c.problems(responses, failures(e, hasBody || len(parameters) > 0, hasBody, transport.HTTPStatus))
	op["responses"] = responses
	return op
}

// problems adds one response to responses for each status of the failures in all, with the failures
// that have this status.
func (*components) problems(responses object, all []failure) {
	byStatus := make(map[int][]failure)
	for _, f := range all {
		byStatus[f.status] = append(byStatus[f.status], f)
	}
	for status, list := range byStatus {
		responses[strconv.Itoa(status)] = problemResponse(status, list)
	}
}

var wildcard = regexp.MustCompile(`\{(\w+)(\.\.\.)?\}`)

// handlerOperation completes and returns op, the operation of e, which is an http.Handler. The types
// of the requests and responses of such an endpoint are unknown.
func (c *components) handlerOperation(op object, e *chassi.Endpoint) object {
	method, pattern := e.Route()
	var parameters []any
	for _, m := range wildcard.FindAllStringSubmatch(pattern, -1) {
		parameters = append(parameters, object{"name": m[1], "in": "path", "required": true, "schema": object{"type": "string"}})
	}
	if len(parameters) > 0 {
		op["parameters"] = parameters
	}
	if method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch {
		op["requestBody"] = object{"content": object{"*/*": object{}}}
	}
	responses := object{strconv.Itoa(e.Status()): object{"description": http.StatusText(e.Status()), "headers": requestIDHeader, "content": object{"*/*": object{}}}}
	c.problems(responses, failures(e, false, false, transport.HTTPStatus))
	op["responses"] = responses
	return op
}

// fileContent returns the description of the body of a request with a file: the file itself, or a
// form with the file and the fields of the request that are not parameters.
func (c *components) fileContent(e *chassi.Endpoint) object {
	request, err := gotype.Of(e.RequestType())
	if err != nil {
		c.errs = append(c.errs, fmt.Errorf("schema: %s: %w", e.FullName(), err))
		return object{}
	}
	properties, required := make(object), []string{}
	rules := c.rulesOf(request, sent)
	for i := range request.Fields {
		f := &request.Fields[i]
		switch {
		case f.Type.Kind == gotype.File:
			file := object{"type": "string", "contentMediaType": "application/octet-stream"}
			if text := f.Tag.Get("doc"); text != "" {
				file["description"] = text
			}
			properties[f.CallerName()] = file
			required = append(required, f.CallerName())
		case f.Source == "":
			properties[f.JSON] = c.paramSchema(f, &rules[i])
			if rules[i].Present {
				required = append(required, f.JSON)
			}
		}
	}
	slices.Sort(required)
	return object{"*/*": object{}, "multipart/form-data": object{"schema": object{"type": "object", "properties": properties, "required": required, "additionalProperties": false}}}
}

func serviceOf(e *chassi.Endpoint) string {
	service, _, _ := strings.Cut(e.FullName(), "/")
	return service
}

func shortID(e *chassi.Endpoint) string {
	service := serviceOf(e)
	return service[strings.LastIndexByte(service, '.')+1:] + "_" + e.Name()
}

func longID(e *chassi.Endpoint) string {
	return strings.ReplaceAll(serviceOf(e), ".", "_") + "_" + e.Name()
}

// parameters returns the descriptions of the parameters of a request, which are outside of its
// body. The result hasBody reports whether the request has a body, and needsBody whether a client
// must send it. Without required fields, a missing body has the same meaning as an empty object.
func (c *components) parameters(e *chassi.Endpoint) (list []any, hasBody, needsBody bool) {
	request, err := gotype.Of(e.RequestType())
	if err != nil {
		c.errs = append(c.errs, fmt.Errorf("schema: %s: %v: %w", e.FullName(), e.RequestType(), err))
		return nil, false, false
	}
	hasBody = request.Rest != nil
	rules := c.rulesOf(request, sent)
	for i := range request.Fields {
		f := &request.Fields[i]
		if f.Source == "" {
			hasBody, needsBody = true, needsBody || rules[i].Present
			continue
		}
		p := object{"name": f.Param, "in": f.Source, "required": f.Source == "path" || rules[i].Present, "schema": c.paramSchema(f, &rules[i])}
		if text := f.Tag.Get("doc"); text != "" {
			p["description"] = text
		}
		list = append(list, p)
	}
	headers := e.Headers()
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		list = append(list, object{"name": name, "in": "header", "required": false, "description": headers[name], "schema": object{"type": "string"}})
	}
	return list, hasBody, needsBody
}

// paramSchema returns the schema of f as a parameter. A parameter is text, and is therefore neither
// null nor quoted.
func (c *components) paramSchema(f *gotype.Field, rules *validation.Description) object {
	text := *f
	text.Quoted, text.Type = false, textual(f.Type.Indirect())
	s, _ := withoutNull(c.fieldSchema(&text, sent, rules))
	return s
}

// textual returns a copy of t that describes how t is decoded from the text of a parameter: by
// UnmarshalText if t has this method, and in its native form otherwise.
func textual(t *gotype.Type) *gotype.Type {
	own := *t
	switch {
	case t.Kind == gotype.List:
		own.Elem = textual(t.Elem.Indirect())
	case t.Kind == gotype.Time:
	case t.TextIn:
		own.Decode = gotype.Text
	default:
		own.Decode = gotype.Native
	}
	return &own
}

// successes returns the descriptions of the successful responses of e, by status.
func (c *components) successes(e *chassi.Endpoint) object {
	if e.Streams() {
		c.streams = true
		return c.streamResponses(e)
	}
	response, err := gotype.Of(e.ResponseType())
	if err != nil {
		c.errs = append(c.errs, fmt.Errorf("schema: %s: %v: %w", e.FullName(), e.ResponseType(), err))
		return object{}
	}
	statuses, headers, hasJSON := []string{strconv.Itoa(e.Status())}, maps.Clone(requestIDHeader), len(response.Fields) == 0 || response.Rest != nil
	for i := range response.Fields {
		switch f := &response.Fields[i]; {
		case f.Source == "header":
			header := object{"schema": c.paramSchema(f, &validation.Description{})}
			if text := f.Tag.Get("doc"); text != "" {
				header["description"] = text
			}
			headers[http.CanonicalHeaderKey(f.Param)] = header
		case f.Source == "cookie":
			headers["Set-Cookie"] = object{"description": "Sets the cookie " + f.Param + ".", "schema": object{"type": "string"}}
		case f.Source == "status":
			statuses = append(statuses, strings.Split(f.Param, ",")...)
		case f.Type.Kind != gotype.File && f.JSON != "":
			hasJSON = true
		}
	}
	_, file := e.Files()
	all := make(object)
	for _, text := range statuses {
		status, _ := strconv.Atoi(text) // the transport refuses others
		r := object{"description": http.StatusText(status), "headers": headers}
		switch {
		case file:
			r["content"] = object{"*/*": object{}}
		case status != http.StatusNoContent && hasJSON:
			r["content"] = object{"application/json": object{"schema": c.message(e, e.ResponseType(), "Response", answered, true)}}
		}
		all[text] = r
	}
	if file {
		all["206"] = object{"description": "The ranges that the request has asked for, if the file has ranges", "headers": headers, "content": object{"*/*": object{}}}
		all["304"] = object{"description": "The client has the file already"}
	}
	return all
}

var (
	requestIDHeader = object{"X-Request-Id": object{"description": "The id of the call. State it when you report a problem.", "schema": object{"type": "string"}}}

	violationsSchema = object{"type": "array", "items": object{
		"type": "object", "properties": object{"field": object{"type": "string"}, "message": object{"type": "string"}}, "required": []string{"field", "message"},
	}}

	detailsSchema = object{
		"type": "array", "maxItems": 16, "description": "More about the error for programs: objects of the types that their URLs name.",
		"items": object{
			"type": "object", "required": []string{"@type"}, "additionalProperties": true,
			"properties": object{
				"@type":  object{"type": "string", "description": "The type URL of the message: type.googleapis.com/shop.v1.OutOfStock."},
				"@value": object{"type": "string", "contentEncoding": "base64", "description": "The message in Protocol Buffers, if there is no JSON of it."},
			},
		},
	}

	problemSchema = object{
		"type": "object", "description": "What went wrong (RFC 9457).",
		"required": []string{"type", "title", "status", "detail", "instance", "code", "error", "message"},
		"properties": object{
			"type": object{"type": "string"}, "title": object{"type": "string"}, "status": object{"type": "integer"}, "detail": object{"type": "string"},
			"instance":   object{"type": "string", "description": "The id of the call."},
			"code":       object{"type": "string", "enum": codeNames(), "description": "The kind of failure, as gRPC has it."},
			"error":      object{"type": "string", "description": "The stable reason, for programs."},
			"message":    object{"type": "string", "description": "The message, for people."},
			"violations": violationsSchema,
			"details":    detailsSchema,
		},
	}
)

func codeNames() []string {
	var names []string
	for _, code := range chassi.Codes() {
		names = append(names, code.String())
	}
	return names
}

func problemResponse(status int, list []failure) object {
	var lines []string // a list in Markdown
	examples := make(object)
	for _, f := range list {
		lines = append(lines, fmt.Sprintf("- `%s`: %s", f.reason, f.message))
		examples[f.reason] = object{"value": object{
			"type": "about:blank", "title": http.StatusText(status), "status": status, "detail": f.message, "instance": "urn:request:0af7651916cd43dd",
			"code": f.code.String(), "error": f.reason, "message": f.message,
		}}
	}
	headers := object{"X-Request-Id": requestIDHeader["X-Request-Id"]}
	if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
		headers["Retry-After"] = object{"description": "Seconds until a retry may help.", "schema": object{"type": "integer"}}
	}
	return object{
		"description": strings.Join(lines, "\n"), "headers": headers,
		"content": object{"application/problem+json": object{"schema": object{"$ref": "#/components/schemas/Problem"}, "examples": examples}},
	}
}
