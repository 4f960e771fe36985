package standard_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/middleware"
	"github.com/chassi-go/chassi/schema"
	"github.com/chassi-go/chassi/standard"
)

// The documents name the credentials of the authenticators in use.
func TestDescribeNamesTheCredentials(t *testing.T) {
	t.Parallel()
	nobody := func(context.Context, *chassi.Call) (*chassi.Principal, error) { return nil, nil }
	custom := middleware.Authenticator{Scheme: middleware.Scheme{Name: "session", Header: "X-Session", Doc: "of the web shop"}, Authenticate: nobody}
	for _, c := range []struct {
		authenticators []middleware.Authenticator
		want           []string
		wantErr        string
	}{
		{[]middleware.Authenticator{middleware.APIKeys(), custom}, []string{`"api_key": {`, `"name": "X-API-Key"`, `"session": {`, `"of the web shop"`}, ""},
		{[]middleware.Authenticator{middleware.Bearer(nil)}, []string{`"scheme": "bearer"`}, ""},
		{[]middleware.Authenticator{{Authenticate: nobody}}, nil, "authenticator 1"},
	} {
		std, err := assemble(t.Context(), defaults(t), standard.Options{Log: new(log)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = std.Telemetry.Stop(context.Background()) })
		s := chassi.NewService("test.v1.Closed", chassi.NewEndpoint("Get", greet, chassi.Route("GET /closed")))
		std.AddAuthenticator(c.authenticators...)
		err = std.Describe(schema.Info{Title: "t", Version: "1"}, s)
		if c.wantErr != "" {
			if err == nil || !strings.Contains(err.Error(), c.wantErr) {
				t.Errorf("%v, want %q", err, c.wantErr)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := std.Build(); err != nil {
			t.Fatal(err)
		}
		document := serveHTTP(t, std, "/openapi.json")
		for _, want := range c.want {
			if !strings.Contains(document, want) {
				t.Errorf("%s is not in\n%s", want, document)
			}
		}
		if strings.Contains(document, `"bearer"`) != (len(c.authenticators) == 1) {
			t.Error("the documents name a bearer token that nobody takes")
		}
	}
}

func serveHTTP(t *testing.T, std *assembled, path string) string {
	t.Helper()
	w := httptest.NewRecorder()
	std.HTTP.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
	return w.Body.String()
}
