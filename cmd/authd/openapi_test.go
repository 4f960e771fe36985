package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/chassi-go/chassi/internal/contracttest"
)

// openAPI checks responses against the document.
type openAPI struct {
	document any
	compiler *jsonschema.Compiler
	mu       sync.Mutex
	schemas  map[string]*jsonschema.Schema
}

var loadOpenAPI = sync.OnceValues(func() (*openAPI, error) {
	b, err := document("openapi")
	if err != nil {
		return nil, err
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	o := &openAPI{document: document, compiler: jsonschema.NewCompiler(), schemas: make(map[string]*jsonschema.Schema)}
	o.compiler.AssertFormat()
	return o, o.compiler.AddResource("openapi.json", document)
})

// checkResponse fails the test for a response of a described operation that the
// document does not have: another status, another type, another body.
func checkResponse(t *testing.T, method, path string, reply *http.Response, body []byte) {
	t.Helper()
	o, err := loadOpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	operation := lookup(o.document, "paths", path, strings.ToLower(method))
	if operation == nil {
		return // not of the contract: an unknown path
	}
	response := lookup(operation, "responses", strconv.Itoa(reply.StatusCode))
	if response == nil {
		t.Errorf("%s %s responded with %d, which the document does not have: %s", method, path, reply.StatusCode, body)
		return
	}
	kind, _, _ := strings.Cut(reply.Header.Get("Content-Type"), ";")
	ref, _ := lookup(response, "content", kind, "schema", "$ref").(string)
	if ref == "" {
		t.Errorf("%s %s responded with %d as %q, which the document does not have", method, path, reply.StatusCode, kind)
		return
	}
	if err := o.validate(ref, body); err != nil {
		t.Errorf("%s %s responded with %d with %s: %v", method, path, reply.StatusCode, body, err)
	}
	if kind == "application/problem+json" {
		var problem struct{ Error string }
		if err := json.Unmarshal(body, &problem); err != nil || lookup(response, "content", kind, "examples", problem.Error) == nil {
			t.Errorf("%s %s responded with %d with the reason %q, which the document does not name", method, path, reply.StatusCode, problem.Error)
		}
	}
}

func lookup(v any, names ...string) any {
	for _, name := range names {
		o, _ := v.(map[string]any)
		v = o[name]
	}
	return v
}

func (o *openAPI) validate(ref string, body []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.schemas[ref]
	if s == nil {
		var err error
		if s, err = o.compiler.Compile("openapi.json" + ref); err != nil {
			return fmt.Errorf("schema %s: %w", ref, err)
		}
		o.schemas[ref] = s
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return err
	}
	return s.Validate(v)
}

// The document is served, and so are the page and its scripts, without credentials. The page
// alone may run scripts.
func TestContractIsServed(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	for path, want := range map[string]string{
		"/openapi.json": `"openapi": "3.1.0"`, "/docs": `data-document="openapi.json"`,
		"/docs/scalar.js": "createApiReference", "/docs/start.js": "createApiReference",
	} {
		response, err := http.Get(n.http + path)
		if err != nil {
			t.Fatal(err)
		}
		var body bytes.Buffer
		if _, err := body.ReadFrom(response.Body); err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusOK || !strings.Contains(body.String(), want) {
			t.Errorf("%s: %d %.200s", path, response.StatusCode, body.String())
		}
		if policy := response.Header.Get("Content-Security-Policy"); strings.Contains(policy, "script-src 'self'") != (path == "/docs") {
			t.Errorf("%s: Content-Security-Policy: %s", path, policy)
		}
	}
}

func TestContracts(t *testing.T) {
	t.Parallel()
	contracttest.Write(t, "authd", described())
}
