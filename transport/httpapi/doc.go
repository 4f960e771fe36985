// Package httpapi serves endpoints as JSON over HTTP/1.1 and HTTP/2, on
// net/http's server and ServeMux.
//
// # Requests
//
// An endpoint's route says where it is served. Its request struct is filled
// from the JSON body (POST, PUT, PATCH), and from what its tags name:
//
//	type GetUser struct {
//		ID     string   `json:"id" path:"id"`         // a wildcard of the route
//		Fields []string `json:"fields" query:"field"` // repeated query parameters
//		Lang   string   `json:"lang" header:"Accept-Language"`
//	}
//
// Decoding is strict. An unknown, duplicate or wrongly cased member, a value of
// the wrong type, trailing data, invalid UTF-8, too deep nesting (all 400), too
// long a body (413) and any other media type (415) are refused with the field
// named. Request bodies are never decompressed.
//
// # Answers
//
// A response struct is sent as application/json; one without fields as 204.
// Every error, the router's own 404 and 405 included, is
// application/problem+json as RFC 9457 has it, with the members "code" (one of the
// sixteen), "error" (the stable reason), "message" and, if a field is wrong,
// "violations" besides, and "details" if the method has set any: at most 16 objects with
// "@type", in at most 16 KiB. What an error that is no [chassi.Error] says stays in the
// process.
//
// # Deadlines
//
// A request with X-Request-Timeout-Ms ends after that time, if nothing ends it
// earlier. [Client] sends it along.
//
// # Limits
//
// Every time, size and count in [Config] is finite by default.
package httpapi
