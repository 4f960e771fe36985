package schema

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/transport"
)

// OpenAPI describes the endpoints of services that have a route, in OpenAPI 3.1,
// with every error that they can answer behind the middleware of package
// standard.
func OpenAPI(info Info, services ...*chassi.Service) ([]byte, error) {
	c := newComponents()
	paths, tags := make(object), []any{}
	for _, s := range services {
		if err := s.Err(); err != nil {
			return nil, err
		}
		tags = append(tags, object{"name": s.Name(), "description": "The service " + s.Name()})
		for _, e := range s.Endpoints() {
			method, pattern := e.Route()
			if method == "" {
				continue
			}
			path := openPath(pattern)
			item, _ := paths[path].(object)
			if item == nil {
				item = make(object)
				paths[path] = item
			}
			item[strings.ToLower(method)] = c.operation(s, e, method)
		}
	}
	c.schemas["Problem"] = problemSchema
	document := object{
		"openapi": "3.1.0", "info": info.object(), "tags": tags, "paths": paths,
		"components": object{
			"schemas":         c.schemas,
			"securitySchemes": object{"bearer": object{"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
		},
	}
	if len(info.Servers) > 0 {
		var servers []any
		for _, url := range info.Servers {
			servers = append(servers, object{"url": url})
		}
		document["servers"] = servers
	}
	return join(document, c.err)
}

func join(document object, err error) ([]byte, error) {
	b, failed := render(document)
	return b, errors.Join(err, failed)
}

var restWildcard = regexp.MustCompile(`\{(\w+)\.\.\.\}`)

// openPath writes a ServeMux pattern as OpenAPI has it.
func openPath(pattern string) string {
	return restWildcard.ReplaceAllString(strings.TrimSuffix(pattern, "{$}"), "{$1}")
}

func (c *components) operation(s *chassi.Service, e *chassi.Endpoint, method string) object {
	op := object{"operationId": operationID(s, e), "summary": summary(e), "tags": []string{s.Name()}, "security": []any{}}
	op["description"] = summary(e) + "."
	if e.Doc() != "" {
		op["description"] = e.Doc()
	}
	if !e.Public() {
		op["security"] = []any{object{"bearer": []string{}}}
	}
	parameters := c.parameters(e)
	if len(parameters) > 0 {
		op["parameters"] = parameters
	}
	hasBody := len(bodyFields(e.RequestType())) > 0 && slices.Contains([]string{http.MethodPost, http.MethodPut, http.MethodPatch}, method)
	if hasBody {
		ref := object{"$ref": "#/components/schemas/" + c.structOf(e.RequestType(), e.Name()+"Request", sent)}
		op["requestBody"] = object{"required": true, "content": object{"application/json": object{"schema": ref}}}
	}
	responses := object{strconv.Itoa(e.Status()): c.success(e)}
	byStatus := make(map[int][]failure)
	for _, f := range failures(e, hasBody || len(parameters) > 0, hasBody, transport.HTTPStatus) {
		byStatus[f.status] = append(byStatus[f.status], f)
	}
	for status, list := range byStatus {
		responses[strconv.Itoa(status)] = problemResponse(status, list)
	}
	op["responses"] = responses
	return op
}

func operationID(s *chassi.Service, e *chassi.Endpoint) string {
	name := s.Name()[strings.LastIndexByte(s.Name(), '.')+1:]
	return name + "_" + e.Name()
}

func (c *components) parameters(e *chassi.Endpoint) []any {
	var list []any
	for _, m := range members(e.RequestType()) {
		if m.source == "" {
			continue
		}
		p := object{"name": m.name, "in": m.source, "required": m.required || m.source == "path", "schema": c.fieldSchema(m, sent)}
		if text := m.Tag.Get("doc"); text != "" {
			p["description"] = text
		}
		list = append(list, p)
	}
	return list
}

func (c *components) success(e *chassi.Endpoint) object {
	r := object{"description": http.StatusText(e.Status()), "headers": requestIDHeader}
	if e.Status() != http.StatusNoContent {
		ref := object{"$ref": "#/components/schemas/" + c.structOf(e.ResponseType(), e.Name()+"Response", answered)}
		r["content"] = object{"application/json": object{"schema": ref}}
	}
	return r
}

var (
	requestIDHeader = object{"X-Request-Id": object{"description": "The id of the call, to be told when something is wrong with it.", "schema": object{"type": "string"}}}

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
	var lines []string
	examples := make(object)
	for _, f := range list {
		lines = append(lines, fmt.Sprintf("`%s`: %s", f.reason, f.message))
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
