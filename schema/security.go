package schema

import (
	"slices"
	"strings"

	"github.com/chassi-go/chassi"
)

// SecurityScheme describes one kind of credentials.
type SecurityScheme struct {
	Name      string // name in documents: "bearer", "api_key"
	Header    string // the header with the credentials: "Authorization", "X-API-Key"
	Prefix    string // scheme in an Authorization header: "Bearer", "Basic"; empty for other headers
	Format    string // format of a bearer token, shown in documents: "JWT"
	Doc       string // description in documents; may be empty
	MutualTLS bool   // whether the credentials are the client certificate of the TLS connection
}

func (i Info) security() []SecurityScheme {
	if len(i.Security) == 0 {
		return []SecurityScheme{{Name: "bearer", Header: "Authorization", Prefix: "Bearer", Format: "JWT"}}
	}
	return i.Security
}

func (i Info) securitySchemes() object {
	all := make(object)
	for _, s := range i.security() {
		all[s.Name] = s.object()
	}
	return all
}

func needsCredentials(services []*chassi.Service) bool {
	return slices.ContainsFunc(services, func(s *chassi.Service) bool {
		return slices.ContainsFunc(s.Endpoints(), func(e *chassi.Endpoint) bool { return !e.Public() && e.ServedOver("http") })
	})
}

// securityRequirements returns the security requirements of an endpoint that accepts the
// credentials of any one of the schemes.
func (i Info) securityRequirements() []any {
	var either []any
	for _, s := range i.security() {
		either = append(either, object{s.Name: []string{}})
	}
	return either
}

func (s SecurityScheme) object() object {
	o := object{"type": "apiKey", "in": "header", "name": s.Header}
	if s.MutualTLS {
		o = object{"type": "mutualTLS"}
	}
	if s.Prefix != "" && strings.EqualFold(s.Header, "Authorization") {
		o = object{"type": "http", "scheme": strings.ToLower(s.Prefix)}
		if s.Format != "" {
			o["bearerFormat"] = s.Format
		}
	}
	if s.Doc != "" {
		o["description"] = s.Doc
	}
	return o
}

// String returns the text with which documents refer to the credentials, such as
// "bearer (Authorization: Bearer ...)".
func (s SecurityScheme) String() string {
	switch {
	case s.Header == "":
		return s.Name
	case s.Prefix != "":
		return s.Name + " (" + s.Header + ": " + s.Prefix + " ...)"
	}
	return s.Name + " (" + s.Header + ")"
}
