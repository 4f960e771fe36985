package conformance

import (
	"encoding/base64"
	"strings"

	"google.golang.org/grpc/metadata"
)

// binarySuffix ends the name of a header whose values are bytes, which the suite writes in
// base64 and grpc-go does not.
const binarySuffix = "-bin"

// HeadersOf returns metadata as the suite writes it.
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

// MetadataOf returns headers as grpc-go takes them.
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
