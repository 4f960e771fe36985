package schema_test

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"testing"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/schema"
)

type (
	putFile struct {
		Folder  string      `json:"-" path:"folder"`
		Comment string      `json:"comment" validate:"required"`
		Count   int         `json:"count"`
		File    chassi.File `json:"file" doc:"The letter."`
	}
	filePut struct {
		Location string      `json:"location" header:"location" doc:"Where it is."`
		Session  http.Cookie `json:"-" cookie:"session"`
		Status   int         `json:"-" status:"200,201"`
		ID       string      `json:"id"`
	}
	getFile struct {
		Name string `json:"-" path:"name"`
	}
	gotFile struct {
		Version int         `json:"-" header:"X-Version"`
		File    chassi.File `json:"file"`
	}
)

// The document describes files in both directions, forms, and the fields of a response that are
// not in its body. It stays OpenAPI 3.1: only streams need 3.2.
func TestFilesInOpenAPI(t *testing.T) {
	t.Parallel()
	put := func(context.Context, *putFile) (*filePut, error) { return new(filePut), nil }
	get := func(context.Context, *getFile) (*gotFile, error) { return new(gotFile), nil }
	text, err := schema.OpenAPI(schema.Info{Title: "Files", Version: "1"}, chassi.NewService("files.v1.Files",
		chassi.NewEndpoint("Put", put, chassi.Route("POST /files/{folder}"), chassi.Public),
		chassi.NewEndpoint("Get", get, chassi.Route("GET /files/{name}"), chassi.Public)))
	if err != nil {
		t.Fatal(err)
	}
	type content map[string]struct {
		Schema struct {
			Ref        string `json:"$ref"`
			Properties map[string]struct{ Type, ContentMediaType, Description string }
			Required   []string
		}
	}
	type operation struct {
		Parameters  []struct{ Name, In string }
		RequestBody struct {
			Required bool
			Content  content
		}
		Responses map[string]struct {
			Headers map[string]any
			Content content
		}
	}
	var document struct {
		OpenAPI    string
		Paths      map[string]map[string]operation
		Components struct {
			Schemas map[string]struct{ Properties map[string]any }
		}
	}
	if err := json.Unmarshal(text, &document); err != nil || document.OpenAPI != "3.1.0" {
		t.Fatalf("version %s, %v", document.OpenAPI, err)
	}
	up, down := document.Paths["/files/{folder}"]["post"], document.Paths["/files/{name}"]["get"]
	form := up.RequestBody.Content["multipart/form-data"].Schema
	_, raw := up.RequestBody.Content["*/*"]
	if f := form.Properties["file"]; !raw || !up.RequestBody.Required || f.ContentMediaType != "application/octet-stream" || f.Description != "The letter." ||
		form.Properties["count"].Type != "integer" || !slices.Equal(form.Required, []string{"comment", "file"}) || len(form.Properties) != 3 || len(up.Parameters) != 1 {
		t.Errorf("%+v", up)
	}
	for _, status := range []string{"200", "201"} {
		r := up.Responses[status]
		for _, name := range []string{"Location", "Set-Cookie", "X-Request-Id"} {
			if r.Headers[name] == nil {
				t.Errorf("%s: no header %s in %v", status, name, r.Headers)
			}
		}
		if r.Content["application/json"].Schema.Ref == "" {
			t.Errorf("%s: %v", status, r.Content)
		}
	}
	body := up.Responses["200"].Content["application/json"].Schema.Ref[len("#/components/schemas/"):]
	if p := document.Components.Schemas[body].Properties; len(p) != 1 || p["id"] == nil {
		t.Errorf("the body is %v", p)
	}
	for _, status := range []string{"408", "413", "415"} {
		if _, ok := up.Responses[status]; !ok {
			t.Errorf("no %s of the upload", status)
		}
	}
	for _, status := range []string{"200", "206", "304", "412", "416"} {
		r, ok := down.Responses[status]
		if _, isFile := r.Content["*/*"]; !ok || isFile != (status[:2] == "20") || isFile && r.Headers["X-Version"] == nil {
			t.Errorf("%s of the download: %v", status, r)
		}
	}
}
