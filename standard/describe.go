package standard

import (
	"fmt"
	"net/http"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/schema"
)

// Describe makes the App serve the OpenAPI document of services over HTTP, at /openapi.json.
// Without services, the document describes those that were mounted before the call. If
// info.Security is nil, the document describes the credentials of the authenticators that were added
// before the call. Describe returns an error if the document cannot be generated. Package
// schema/apidocs adds a documentation page.
func (a *App) Describe(info schema.Info, services ...*chassi.Service) error {
	if len(services) == 0 {
		services = a.services
	}
	info, err := a.withSecurity(info)
	if err != nil {
		return err
	}
	document, err := schema.OpenAPI(info, services...)
	if err != nil {
		return err //nolint:wrapcheck // says where
	}
	a.Handle("GET /openapi.json", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "public, max-age=300")
		_, _ = w.Write(document)
	}), chassi.Public)
	return nil
}

// withSecurity returns info with the security schemes of the authenticators, unless info.Security
// is set. It returns an error if an authenticator does not describe its credentials completely.
func (a *App) withSecurity(info schema.Info) (schema.Info, error) {
	if info.Security != nil {
		return info, nil
	}
	for i, authenticator := range a.authenticators {
		s := schema.SecurityScheme(authenticator.Scheme)
		if s.Name == "" || s.Header == "" && !s.MutualTLS {
			return info, fmt.Errorf("standard: the Scheme of authenticator %d is incomplete: want a Name, and a Header or MutualTLS, for the schema documents", i+1)
		}
		info.Security = append(info.Security, s)
	}
	return info, nil
}
