// Package httpapi serves endpoints as JSON over HTTP/1.1 and HTTP/2, with net/http's server and
// ServeMux, and implements the client.
//
// # Requests
//
// An endpoint is served at its route. The fields of its request struct are set from the JSON
// body (POST, PUT, PATCH) and from the sources in their tags:
//
//	type GetUser struct {
//		ID     string   `json:"id" path:"id"`         // a wildcard of the route
//		Fields []string `json:"fields" query:"field"` // repeated query parameters
//		Lang   string   `json:"lang" header:"Accept-Language"`
//	}
//
// Decoding is strict. An unknown or duplicate member or one in the wrong case, a value of the
// wrong type, trailing data, invalid UTF-8 and excessive nesting are refused with 400 and, where
// possible, the name of the field; a body that is too long with 413; any media type but JSON with
// 415. Request bodies are never decompressed, except those of the Connect protocol.
//
// # Responses
//
// A response struct is sent as application/json; a response struct without fields becomes 204
// without a body. Every error of a call, including the router's 404 and 405, is sent as
// application/problem+json (RFC 9457) with the additional members "code" (one of the sixteen),
// "error" (the stable reason), "message", "violations" if a field is invalid, and "details" if the
// method has set any: at most 16 objects with "@type", in at most 16 KiB. The text of an error that
// is not a [chassi.Error] is not sent.
//
// # Connect
//
// With [Config].Connect every endpoint is also served by the Connect protocol, which browsers
// and generated clients use. Package connectapi describes it.
//
// # Deadlines
//
// A request with the header X-Request-Timeout-Ms has at most that timeout. [Client] sends the header.
//
// # Limits
//
// Every timeout, size and count in [Config] is finite by default.
package httpapi
