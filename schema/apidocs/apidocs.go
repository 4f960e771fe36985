// Package apidocs serves a page that shows an OpenAPI document with its schemas, examples and
// errors, with code samples, and with a form that calls the endpoints. A program adds the document
// and the page as follows:
//
//	return errors.Join(app.Describe(about), apidocs.Mount(app, apidocs.Options{Title: about.Title}))
//
// The page is the API reference of Scalar (https://scalar.com, MIT license), embedded at the
// version that scalar/BUNDLE records; it adds 1.3 MB to a program. The page loads everything from
// the server itself: a Content-Security-Policy keeps it from calling other hosts, and all of
// Scalar's services are disabled. Every URL in the page is relative, so that the page works below a
// prefix that a reverse proxy removes. The form calls the server that served the page, regardless
// of the servers that the document names.
package apidocs

import (
	"bytes"
	_ "embed"
	"fmt"
	"html"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/chassi-go/chassi"
)

// Options configures the page. The zero value is valid.
type Options struct {
	Title    string // title of the page; default "API reference"
	Path     string // path of the page, without a trailing slash; default "/docs"
	Document string // path of the OpenAPI document; default "/openapi.json"
}

// App registers handlers for patterns in the syntax of [http.ServeMux]. The type App of package
// standard implements this interface.
type App interface {
	Handle(pattern string, handler http.Handler, options ...chassi.EndpointOption)
}

//go:embed page.html
var pageTemplate string

//go:embed start.js
var startScript []byte

// policy is the Content-Security-Policy of the page. It permits inline styles, because Scalar
// creates style elements and attributes and cannot give all of them a nonce. It restricts scripts
// and requests to this server, and forbids the evaluation of strings as code.
const policy = "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; img-src 'self' data:; " +
	"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// transfer is the timeout of the endpoints. It is long enough to receive a script over a slow
// connection.
const transfer = 2 * time.Minute

// Mount makes app serve the page at o.Path, and the scripts of the page at paths below it,
// without authentication. It returns an error if a path in o is invalid.
func Mount(app App, o Options) error {
	routes, err := o.routes()
	if err != nil {
		return err
	}
	for _, r := range routes {
		app.Handle(r.pattern, r.handler, chassi.Public, chassi.Timeout(transfer))
	}
	return nil
}

// Handler returns a handler that serves the page at o.Path, and the scripts of the page at paths
// below it, for use with a server that is not an [App]. It returns an error if a path in o is
// invalid.
func Handler(o Options) (http.Handler, error) {
	routes, err := o.routes()
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	for _, r := range routes {
		mux.Handle(r.pattern, r.handler)
	}
	return mux, nil
}

type route struct {
	pattern string
	handler http.Handler
}

func (o Options) routes() ([]route, error) {
	if o.Title == "" {
		o.Title = "API reference"
	}
	if o.Path == "" {
		o.Path = "/docs"
	}
	if o.Document == "" {
		o.Document = "/openapi.json"
	}
	for option, value := range map[string]string{"Path": o.Path, "Document": o.Document} {
		if value != path.Clean(value) || !path.IsAbs(value) || value == "/" || strings.ContainsAny(value, "{}?#% ") {
			return nil, fmt.Errorf("apidocs: Options.%s %q: want an absolute path such as /docs, without a trailing slash, empty or dot segments, spaces, or any of {}?#%%", option, value)
		}
	}
	renderer, start := newScript(compressedScalar, true), newScript(startScript, false)
	return []route{
		{"GET " + o.Path, o.page(renderer, start)},
		{"GET " + o.Path + "/scalar.js", renderer},
		{"GET " + o.Path + "/start.js", start},
	}, nil
}

// page returns the handler of the page itself.
func (o Options) page(renderer, start *script) http.Handler {
	root := strings.Repeat("../", strings.Count(o.Path, "/")-1)
	own := path.Base(o.Path)
	content := []byte(strings.NewReplacer(
		"{{title}}", html.EscapeString(o.Title),
		"{{document}}", html.EscapeString(root+strings.TrimPrefix(o.Document, "/")),
		"{{root}}", html.EscapeString("./"+root),
		"{{scalar.js}}", html.EscapeString(own+"/scalar.js?v="+renderer.version),
		"{{start.js}}", html.EscapeString(own+"/start.js?v="+start.version),
	).Replace(pageTemplate))
	tag := etag(digest(content))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-cache")
		h.Set("ETag", tag)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	})
}
