package schema

import (
	"errors"
	"fmt"
	"html"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/chassi-go/chassi"
)

// PagePolicy is the Content-Security-Policy that [Page] needs: its own style, no
// script, nothing from elsewhere.
const PagePolicy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"

// Page renders what [OpenAPI] says as one HTML page for people, without scripts
// and without anything from elsewhere.
func Page(info Info, services ...*chassi.Service) ([]byte, error) {
	w := &page{components: newComponents()}
	var errs []error
	for _, s := range services {
		errs = append(errs, s.Err())
		w.service(s)
	}
	body := w.String()
	w.Reset()
	w.f(pageHead, info.Title, info.Title, info.Version, info.Description)
	w.WriteString(body)
	w.structs()
	w.WriteString("</main>\n")
	return []byte(w.String()), errors.Join(append(errs, w.components.err)...)
}

const pageHead = `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>%s</title>
<style>
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;margin:0}
main{max-width:52rem;margin:0 auto;padding:1rem}
h1{margin:.5rem 0 0}h2{margin:2.5rem 0 .5rem;border-bottom:1px solid #8886}
h3{font:600 1rem ui-monospace,monospace;margin:2rem 0 .25rem}
code,td:first-child{font-family:ui-monospace,monospace;font-size:.9em}
b.m{display:inline-block;min-width:3.5rem;color:#06c}
table{border-collapse:collapse;width:100%%;margin:.5rem 0}
th,td{text-align:left;vertical-align:top;padding:.25rem .75rem .25rem 0;border-bottom:1px solid #8883}
th{font-weight:600;font-size:.85rem}.q{opacity:.75;font-size:.9rem}
@media(prefers-color-scheme:dark){b.m,a{color:#6af}}
</style>
<main>
<h1>%s</h1>
<p class="q">version %s &middot; <a href="openapi.json">openapi.json</a></p>
<p>%s</p>
`

type page struct {
	strings.Builder

	components *components
}

// f writes a format whose arguments are all text to be escaped.
func (w *page) f(format string, a ...string) {
	escaped := make([]any, len(a))
	for i := range a {
		escaped[i] = html.EscapeString(a[i])
	}
	fmt.Fprintf(&w.Builder, format, escaped...)
}

func (w *page) service(s *chassi.Service) {
	w.f("<h2>%s</h2>\n", s.Name())
	for _, e := range s.Endpoints() {
		if method, path := e.Route(); method != "" {
			w.endpoint(s, e, method, path)
		}
	}
}

func (w *page) endpoint(s *chassi.Service, e *chassi.Endpoint, method, path string) {
	op := w.components.operation(s, e, method)
	w.f("<h3 id=\"%s\"><b class=\"m\">%s</b> %s</h3>\n", operationID(s, e), method, openPath(path))
	for paragraph := range strings.SplitSeq(op["description"].(string), "\n\n") {
		w.f("<p>%s</p>\n", paragraph)
	}
	switch permissions := strings.Join(e.Permissions(), ", "); {
	case permissions != "":
		w.f("<p class=\"q\">Needs a token (Authorization: Bearer) with %s.</p>\n", permissions)
	case !e.Public():
		w.f("<p class=\"q\">Needs a token (Authorization: Bearer).</p>\n")
	}
	w.f("<table><tr><th>status<th>\n")
	if body, ok := op["requestBody"].(object); ok {
		w.f("<tr><td>body<td>%s\n", refOf(body))
	}
	parameters, _ := op["parameters"].([]any)
	for _, p := range parameters {
		w.f("<tr><td>%s<td>%s %s\n", p.(object)["in"].(string), p.(object)["name"].(string), describeSchema(p.(object)["schema"].(object)))
	}
	responses := op["responses"].(object)
	for _, status := range slices.Sorted(maps.Keys(responses)) {
		r := responses[status].(object)
		w.f("<tr><td>%s<td>", status)
		if code, _ := strconv.Atoi(status); code < http.StatusMultipleChoices {
			w.f("%s\n", refOf(r))
			continue
		}
		for line := range strings.Lines(r["description"].(string)) {
			w.f("%s<br>", strings.TrimSpace(line))
		}
		w.WriteByte('\n')
	}
	w.f("</table>\n")
}

// refOf names the schema of a body.
func refOf(o object) string {
	content, ok := o["content"].(object)
	if !ok {
		return "no body"
	}
	return describeSchema(content["application/json"].(object)["schema"].(object))
}

func describeSchema(s object) string {
	if ref, ok := s["$ref"].(string); ok {
		return ref[strings.LastIndexByte(ref, '/')+1:]
	}
	text := strings.Trim(strings.ReplaceAll(fmt.Sprint(s["type"]), " ", " or "), "[]")
	if items, ok := s["items"].(object); ok {
		text += " of " + describeSchema(items)
	}
	words := []string{text}
	for _, keyword := range []string{"format", "minLength", "maxLength", "minimum", "maximum", "minItems", "maxItems", "enum"} {
		if v, ok := s[keyword]; ok {
			words = append(words, fmt.Sprintf("%s %v", keyword, v))
		}
	}
	return strings.Join(words, ", ")
}

func (w *page) structs() {
	w.f("<h2>Messages</h2>\n")
	for _, name := range slices.Sorted(maps.Keys(w.components.schemas)) {
		s := w.components.schemas[name].(object)
		properties, _ := s["properties"].(object)
		if len(properties) == 0 {
			continue
		}
		w.f("<h3 id=\"%s\">%s</h3>\n<table><tr><th>member<th>type<th>\n", name, name)
		required, _ := s["required"].([]string)
		for _, member := range slices.Sorted(maps.Keys(properties)) {
			p := properties[member].(object)
			description, _ := p["description"].(string)
			if slices.Contains(required, member) {
				description = strings.TrimSpace("required. " + description)
			}
			w.f("<tr><td>%s<td>%s<td>%s\n", member, describeSchema(p), description)
		}
		w.f("</table>\n")
	}
}
