package conformance

import (
	"encoding/base64"
	"strings"

	"google.golang.org/grpc/metadata"
)

// binarySuffix is the suffix of the names of headers with binary values. The suite encodes such
// values in base64; the metadata of grpc-go contains the bytes.
const binarySuffix = "-bin"

// HeadersOf converts metadata of grpc-go to headers of the suite. It encodes binary values in
// base64.
func HeadersOf(md metadata.MD) []Header {
	headers := make([]Header, 0, len(md))
	for name, values := range md {
		h := Header{Name: name, Value: make([]string, len(values))}
		for i, v := range values {
			if h.Value[i] = v; strings.HasSuffix(name, binarySuffix) {
				h.Value[i] = base64.RawStdEncoding.EncodeToString([]byte(v))
			}
		}
		headers = append(headers, h)
	}
	return headers
}

// MetadataOf converts headers of the suite to metadata of grpc-go. A binary value that is not valid
// base64 is kept unchanged.
func MetadataOf(headers []Header) metadata.MD {
	md := make(metadata.MD, len(headers))
	for _, h := range headers {
		for _, v := range h.Value {
			if strings.HasSuffix(strings.ToLower(h.Name), binarySuffix) {
				if raw, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(v, "=")); err == nil {
					v = string(raw)
				}
			}
			md.Append(h.Name, v)
		}
	}
	return md
}
