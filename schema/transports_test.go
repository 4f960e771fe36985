package schema_test

import (
	"slices"
	"testing"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/schema"
	"github.com/chassi-go/chassi/schema/protobuf"
)

// Each document has the endpoints of its transports. What other transports carry need not be
// possible here, nor has it a name or a credential.
func TestDocumentsHaveTheirTransports(t *testing.T) {
	t.Parallel()
	type impossible struct{ Do func() }
	s := chassi.NewService("a.v1.A",
		endpoint[struct{}, struct{ A int }]("All", chassi.Public),
		endpoint[struct{}, struct{ A int }]("Web", chassi.Public, chassi.Transports("http")),
		endpoint[struct{}, struct{ A int }]("Call", chassi.Public, chassi.Transports("grpc")),
		endpoint[struct{}, struct{ A int }]("Send", chassi.Public, chassi.Transports("amqp")),
		endpoint[impossible, impossible]("Other", chassi.Transports("other")),
	)
	text, err := schema.OpenAPI(schema.Info{}, s)
	open := parsed(t, text, err)
	text, err = schema.AsyncAPI(schema.Info{}, s)
	async := parsed(t, text, err)
	file, err := protobuf.File(s)
	if err != nil {
		t.Fatal(err)
	}
	var methods []string
	for _, m := range file.GetService()[0].GetMethod() {
		methods = append(methods, m.GetName())
	}
	for name, c := range map[string]struct{ got, want []string }{
		"OpenAPI":          {keys(at(t, open, "paths").(document)), []string{"/All", "/Web"}},
		"AsyncAPI":         {keys(at(t, async, "operations").(document)), []string{"A_All", "A_Send"}},
		"Protocol Buffers": {methods, []string{"All", "Call"}},
	} {
		if !slices.Equal(c.got, c.want) {
			t.Errorf("%s has %q, want %q", name, c.got, c.want)
		}
	}
	if components := at(t, open, "components").(document); components["securitySchemes"] != nil {
		t.Error("OpenAPI has a credential that no operation needs")
	}
}

func keys(d document) (names []string) {
	for name := range d {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
