// Package connectapi lets package httpapi serve the Connect protocol
// (https://connectrpc.com/docs/protocol), for browsers and for clients that are generated from the
// .proto file:
//
//	httpapi.Config{Connect: true, ConnectCodec: connectapi.New()}
//
// Every endpoint of the mounted services that is not a stream is then also served at POST
// /package.Service/Method, even if it has no route, with the same middleware, policies and limits
// as at a route. Requests by GET are not supported, because their URLs would end up in logs. An
// endpoint that [chassi.Transports] limits is served only if both "http" and "grpc" are among its
// transports. An endpoint that is an http.Handler or has a [chassi.File] cannot be served: unless
// its transports exclude it in this way, mounting its service fails.
//
// # Messages
//
// Messages of the type application/proto have the same encoding as in package grpcapi; unknown
// fields are skipped. Messages of the type application/json are ProtoJSON, which [protobuf.JSON]
// describes. It differs from the JSON of routes: for example, integers of 64 bits are strings,
// fields without a value are left out, and enum values are their names in the .proto file. Unknown
// members are refused, as they are by routes, and by default by package protojson.
//
// # Errors
//
// An error is a JSON object with the members code, message and details. The details are the same as
// in package grpcapi, as far as they fit into 48 KiB. The HTTP status of an error depends only on
// its code, and is the result of transport.HTTPStatus; 413 and 408 are not used. A request that
// does not follow the protocol gets an error in the form of routes: 415 for another media type, 405
// for another method, and 404 for an unknown path, which clients interpret as unimplemented.
//
// # Headers
//
// Connect-Timeout-Ms is the timeout of the client in milliseconds, and Connect-Protocol-Version
// must be 1 if it is set. Requests may be compressed with gzip; responses are compressed in the
// same way as the responses of routes. The metadata of a response is sent as headers; clients
// interpret a header with the prefix Trailer- as a trailer. A server with CORS origins allows pages
// to set the headers of the protocol.
package connectapi

import (
	"encoding/base64"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/schema/protobuf"
	"github.com/chassi-go/chassi/transport/httpapi"
)

// maxDetailBytes is the maximum size of the details of an error in bytes. It is larger than the
// maximum in package grpcapi, because gRPC sends the details in trailers.
const maxDetailBytes = 48 << 10

// Codec implements [httpapi.ConnectCodec] for one server. It is created by [New].
type Codec struct{ packages map[string]*pkg }

// pkg is the state that the services of one .proto package share. The names of enums depend on all
// services of the package.
type pkg struct {
	services []*chassi.Service
	json     *protobuf.JSON
}

var _ httpapi.ConnectCodec = (*Codec)(nil)

// New returns a new codec, which must be used by only one server.
func New() *Codec { return &Codec{packages: make(map[string]*pkg)} }

// Mount implements [httpapi.ConnectCodec].
func (c *Codec) Mount(service *chassi.Service) ([]httpapi.ConnectMethod, error) {
	name := protobuf.PackageOf(service)
	p := c.packages[name]
	if p == nil {
		p = new(pkg)
		c.packages[name] = p
	}
	services := append(slices.Clone(p.services), service)
	form, err := protobuf.NewJSON(services...)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	p.services, p.json = services, form
	methods := make([]httpapi.ConnectMethod, 0, len(service.Endpoints()))
	for _, e := range service.Endpoints() {
		if e.Streams() || !e.ServedOver("grpc") {
			methods = append(methods, nil)
			continue
		}
		m := &method{pkg: p}
		m.service, m.name = protobuf.FullName(e)
		if m.request, err = protobuf.PlanOf(e.RequestType()); err == nil {
			m.response, err = protobuf.PlanOf(e.ResponseType())
		}
		if err != nil {
			return nil, fmt.Errorf("connect: %s: %w", e.FullName(), err)
		}
		methods = append(methods, m)
	}
	return methods, nil
}

// method implements [httpapi.ConnectMethod] for one endpoint.
type method struct {
	pkg               *pkg
	service, name     string
	request, response *protobuf.Plan
}

func (m *method) Path() string { return "/" + m.service + "/" + m.name }

func (m *method) Decode(data []byte, json bool, request any, maxDepth int) error {
	if json {
		return m.pkg.json.Decode(data, m.request, request, maxDepth) //nolint:wrapcheck // for the client
	}
	return m.request.Decode(data, request) //nolint:wrapcheck // for the client
}

func (m *method) Append(b []byte, json bool, response any) ([]byte, error) {
	if json {
		return m.pkg.json.Append(b, m.response, response) //nolint:wrapcheck // the caller says where
	}
	return m.response.Append(b, response) //nolint:wrapcheck // the caller says where
}

// failure is the JSON object that describes an error in the Connect protocol. The member debug of a
// detail is for people; programs use the member value.
type failure struct {
	Code    string   `json:"code"`
	Message string   `json:"message,omitzero"`
	Details []detail `json:"details,omitempty"`
}

type detail struct {
	Type  string         `json:"type"`
	Value string         `json:"value"` // base64 without padding
	Debug jsontext.Value `json:"debug,omitzero"`
}

func (m *method) Error(e *chassi.Error) ([]byte, error) {
	f := failure{Code: e.Code.String(), Message: e.Message}
	for _, d := range protobuf.ErrorDetails(m.service, e, maxDetailBytes) {
		f.Details = append(f.Details, detail{Type: d.Name, Value: base64.RawStdEncoding.EncodeToString(d.Protobuf), Debug: m.pkg.json.Detail(d)})
	}
	return json.Marshal(f, jsontext.AllowInvalidUTF8(true)) //nolint:wrapcheck // the caller sends another error
}
