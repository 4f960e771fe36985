package main

import (
	"context"
	"net/http"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/conformance"
	"github.com/chassi-go/chassi/transport/certs"
	"github.com/chassi-go/chassi/transport/connectapi"
	"github.com/chassi-go/chassi/transport/httpapi"
)

// protocolConnect is the number of the Connect protocol in the messages of the suite.
const protocolConnect = 1

func newConnectServer(wanted *conformance.ServerCompatRequest, files certs.Files) (server, error) {
	s, err := httpapi.New(httpapi.Config{
		Addr: "127.0.0.1:0", TLS: files, H2C: true, MaxBodyBytes: int64(wanted.MessageReceiveLimit), Logger: logger(),
		Connect: true, ConnectCodec: connectapi.New(),
	}, withoutReason)
	if err != nil {
		return nil, err
	}
	s.Use(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx := context.WithValue(r.Context(), metadataKey{}, &httpMetadata{in: r.Header, out: w.Header()})
			next.ServeHTTP(w, r.WithContext(ctx))
		})
	})
	return s, nil
}

// withoutReason is a middleware that removes the reason from errors, because the reason would
// become a detail that the suite does not expect.
func withoutReason(_ *chassi.Binding, next chassi.Handler) chassi.Handler {
	return func(ctx context.Context, call *chassi.Call) error {
		err := next(ctx, call)
		if err == nil {
			return nil
		}
		e := chassi.ErrorOf(err)
		return (&chassi.Error{Code: e.Code, Message: e.Message, Cause: err}).WithDetails(e.Details...)
	}
}

// httpMetadata is the callMetadata of a call over HTTP: the headers of the request and the
// response. Trailers are response headers whose names begin with "Trailer-".
type httpMetadata struct{ in, out http.Header }

func (m *httpMetadata) received() []conformance.Header {
	headers := make([]conformance.Header, 0, len(m.in))
	for name, values := range m.in {
		headers = append(headers, conformance.Header{Name: name, Value: values})
	}
	return headers
}

func (m *httpMetadata) send(d *conformance.ResponseDefinition) error { //nolint:unparam // as that of gRPC, which may fail
	for prefix, headers := range map[string][]conformance.Header{"": d.ResponseHeaders, "Trailer-": d.ResponseTrailers} {
		for _, h := range headers {
			for _, v := range h.Value {
				m.out.Add(prefix+h.Name, v)
			}
		}
	}
	return nil
}
