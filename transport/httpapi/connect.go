package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/transport"
)

// ConnectCodec is the part of the Connect protocol that needs Protocol Buffers. Package connectapi
// implements it, so that only programs that import connectapi link Protocol Buffers. A ConnectCodec
// belongs to one server.
type ConnectCodec interface {
	// Mount returns the methods of a service in the order of its endpoints, with nil for streams
	// and for endpoints that are not in the service's .proto file. It returns an error that names
	// the endpoint if a message has no Protocol Buffers encoding. Mount is not called concurrently
	// with the methods that it has returned.
	Mount(service *chassi.Service) ([]ConnectMethod, error)
}

// ConnectMethod encodes and decodes the messages of one endpoint. It is safe for concurrent use.
type ConnectMethod interface {
	// Path returns the path of the endpoint, such as "/auth.v1.Auth/Me".
	Path() string
	// Decode decodes data into request, from the JSON form if json is true, and otherwise from the
	// binary form. It returns a [*chassi.Error] if data is malformed, or is JSON that is nested
	// deeper than maxDepth.
	Decode(data []byte, json bool, request any, maxDepth int) error
	// Append appends the encoding of response to b, in the JSON form if json is true, and otherwise
	// in the binary form, and returns the extended slice. It returns an error if response cannot be
	// encoded.
	Append(b []byte, json bool, response any) ([]byte, error)
	// Error returns the JSON object by which the protocol describes e, or an error if the object
	// cannot be encoded.
	Error(e *chassi.Error) ([]byte, error)
}

const (
	connectTimeoutKey = "Connect-Timeout-Ms"
	connectVersionKey = "Connect-Protocol-Version"
	// maxConnectTimeout is the maximum number of digits of a Connect-Timeout-Ms header.
	maxConnectTimeout = 10
)

// connectHeaders are the request headers of the protocol that CORS must allow pages to set.
var connectHeaders = []string{connectVersionKey, connectTimeoutKey}

var (
	protoType = []string{"application/proto"}

	errConnectMediaType = &statusError{http.StatusUnsupportedMediaType, chassi.NewError(chassi.InvalidArgument, "unsupported_media_type", "The body must be application/json in UTF-8 or application/proto")}
	errConnectEncoding  = chassi.NewError(chassi.Unimplemented, "unsupported_encoding", "The Content-Encoding must be gzip or identity")
	errConnectVersion   = chassi.NewError(chassi.InvalidArgument, "unsupported_protocol_version", "The Connect-Protocol-Version must be 1")
	errConnectTimeout   = chassi.NewError(chassi.InvalidArgument, "invalid_timeout", "Connect-Timeout-Ms must be a positive whole number of at most 10 digits")
	errNoConnectCodec   = errors.New("httpapi: connect is on without a codec: set Config.ConnectCodec to connectapi.New()")
)

// connectForm is the encoding of the messages of one call over the Connect protocol. It is
// unknownForm for a call over another protocol or with an unsupported media type. The errors of
// such calls are sent as application/problem+json, as on other routes.
type connectForm uint8

const (
	unknownForm connectForm = iota
	jsonForm
	protoForm
)

// connectFormOf returns the form that the Content-Type in h names, or unknownForm for any other
// media type. The form of JSON with a charset other than UTF-8 is unknownForm (RFC 8259).
func connectFormOf(h http.Header) connectForm {
	switch value := h.Get("Content-Type"); value {
	case "application/json":
		return jsonForm
	case "application/proto":
		return protoForm
	default:
		media, params, err := mime.ParseMediaType(value)
		charset := params["charset"]
		switch {
		case err != nil:
			return unknownForm
		case media == "application/json" && (charset == "" || strings.EqualFold(charset, "utf-8") || strings.EqualFold(charset, "utf8")):
			return jsonForm
		case media == "application/proto":
			return protoForm
		default:
			return unknownForm
		}
	}
}

// mountConnect adds the endpoints of service that are served over the Connect protocol, at the
// paths of that protocol. It returns an error if such an endpoint cannot be served.
func (s *Server) mountConnect(service *chassi.Service) error {
	var errs []error
	for _, e := range service.Endpoints() {
		if e.ServedOver("http") && e.ServedOver("grpc") {
			errs = append(errs, transport.CheckShape(e, "Connect", false))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("httpapi: %w", err)
	}
	methods, err := s.config.ConnectCodec.Mount(service)
	if err != nil {
		return fmt.Errorf("httpapi: %w", err)
	}
	for i, e := range service.Endpoints() {
		if methods[i] != nil && e.ServedOver("http") {
			errs = append(errs, s.mountConnectMethod(e, methods[i]))
		}
	}
	return errors.Join(errs...)
}

func (s *Server) mountConnectMethod(e *chassi.Endpoint, m ConnectMethod) error {
	rt := s.newRoute(e, http.MethodPost, m.Path())
	if err := rt.refusal(); err != nil {
		return err
	}
	rt.connect, rt.cacheControl = m, noStore
	s.bodies.allow(rt.maxBody)
	if err := s.register(http.MethodPost+" "+m.Path(), rt); err != nil {
		return err
	}
	if !s.hosted {
		s.plain[plainRoute{http.MethodPost, m.Path()}] = rt
	}
	return nil
}

// connectTimeout returns ctx with the timeout that the client has set, if any. It ignores an
// invalid timeout, which Decode refuses.
func (x *exchange) connectTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	if d, err := parseConnectTimeout(x.r.Header); err == nil && d > 0 {
		return context.WithTimeout(ctx, d)
	}
	return ctx, func() {}
}

// parseConnectTimeout returns the timeout that the client has set, or 0 if the client has set none.
// It returns errConnectTimeout if the timeout is invalid.
func parseConnectTimeout(h http.Header) (time.Duration, error) {
	value := h.Get(connectTimeoutKey)
	if value == "" {
		return 0, nil
	}
	ms, err := strconv.ParseUint(value, 10, 64)
	if err != nil || ms == 0 || len(value) > maxConnectTimeout {
		return 0, errConnectTimeout
	}
	return time.Duration(ms) * time.Millisecond, nil
}

// decodeConnect sets the fields of request from the body of a request over the Connect protocol. It
// returns an error if the headers of the protocol or the body are invalid.
func (x *exchange) decodeConnect(request any) error {
	h := x.r.Header
	if x.form == unknownForm {
		x.w.Header().Set("Accept-Post", "application/json, application/proto")
		return errConnectMediaType
	}
	if v := h.Get(connectVersionKey); v != "" && v != "1" {
		return errConnectVersion
	}
	if _, err := parseConnectTimeout(h); err != nil {
		return err
	}
	buffer := getBuffer()
	defer putBuffer(buffer)
	var err error
	switch coding := strings.ToLower(h.Get("Content-Encoding")); coding {
	case "", "identity":
		err = x.readBody(buffer, x.r.Body, x.r.ContentLength)
	case "gzip":
		err = x.readCompressed(buffer)
	default:
		x.w.Header().Set("Accept-Encoding", "gzip")
		return errConnectEncoding
	}
	if err != nil || len(*buffer) == 0 { // an empty body is an empty message, as for a route
		return err
	}
	return x.route.connect.Decode(*buffer, x.form == jsonForm, request, x.server.config.MaxJSONDepth)
}

var gunzips sync.Pool // of *gzip.Reader

// readCompressed decompresses a body in gzip into buffer. The maximum length applies to the
// compressed body and to the decompressed body.
func (x *exchange) readCompressed(buffer *[]byte) error {
	limit := x.route.maxBody
	if x.r.ContentLength > limit {
		return tooLarge(limit)
	}
	from := http.MaxBytesReader(x.w, x.r.Body, limit)
	z, _ := gunzips.Get().(*gzip.Reader)
	if z == nil {
		z = new(gzip.Reader)
	}
	defer gunzips.Put(z)
	err := z.Reset(from)
	if errors.Is(err, io.EOF) { // an empty body is an empty message
		x.read = true
		return nil
	}
	if err == nil {
		err = x.readBody(buffer, z, -1)
	} else {
		err = readFailed(err)
	}
	if tooLong, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return tooLarge(tooLong.Limit)
	}
	return err
}

// encodeConnect encodes response into the pooled buffer.
func (x *exchange) encodeConnect(response any) error {
	if x.form == unknownForm { // a middleware responds without decoding
		return errConnectMediaType
	}
	var err error
	if *x.body, err = x.route.connect.Append(*x.body, x.form == jsonForm, response); err != nil {
		return fmt.Errorf("httpapi: encode the response of %s: %w", x.route.binding.Endpoint.FullName(), err)
	}
	return nil
}

// connectError returns the HTTP status and the body of the response for e. Unlike for routes, the
// status depends only on the code of e. If e cannot be encoded, the response is an internal error.
func (x *exchange) connectError(e *chassi.Error) (int, []byte) {
	body, err := x.route.connect.Error(e)
	if err != nil {
		return http.StatusInternalServerError, []byte(`{"code":"internal","message":"Internal error"}`)
	}
	return transport.HTTPStatus(e.Code), body
}
