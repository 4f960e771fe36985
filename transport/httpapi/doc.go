// Package httpapi serves endpoints as JSON over HTTP/1.1 and HTTP/2, with net/http's server and
// ServeMux, and implements a client of such a server.
//
// # Requests
//
// An endpoint is served at its route. The fields of its request struct are set from the JSON body
// (POST, PUT, PATCH) and from the sources in their tags:
//
//	type GetUser struct {
//		ID     string   `json:"id" path:"id"`         // a wildcard of the route
//		Fields []string `json:"fields" query:"field"` // repeated query parameters
//		Lang   string   `json:"lang" header:"Accept-Language"`
//	}
//
// Decoding is strict. An invalid request gets one of these statuses:
//
//   - 400, with the name of the field where possible, for a member that is unknown, duplicate or in
//     the wrong case, a value of the wrong type, trailing data, invalid UTF-8 or excessive nesting
//   - 413 for a body that is too long
//   - 415 for a media type other than JSON, and for a compressed body
//
// Request bodies are not decompressed, except those of the Connect protocol.
//
// # Responses
//
// A response struct is sent as application/json; for a response struct without fields, the response
// is 204 without a body. Every error of a call, including the router's 404 and 405, but not an
// error over the Connect protocol or of an open stream, is sent as application/problem+json (RFC
// 9457) with these additional members:
//
//   - "code": one of the sixteen codes
//   - "error": the stable reason
//   - "message": the message of the error
//   - "violations", if a field is invalid
//   - "details", if the error has any: at most 16 objects with "@type", in at most 16 KiB
//
// The text of an error that is not a [chassi.Error] is not sent.
//
// # Connect
//
// With [Config].Connect, endpoints that are not streams are also served over the Connect protocol,
// which browsers and generated clients use. Package connectapi describes the protocol.
//
// # Deadlines
//
// The request header X-Request-Timeout-Ms limits the duration of the call, in milliseconds.
// [Client] sends this header.
//
// # Limits
//
// Every timeout, size and count in [Config] is finite by default.
package httpapi
