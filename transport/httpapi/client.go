package httpapi

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/strictjson"
	"github.com/chassi-go/chassi/transport"
)

// ClientConfig configures a [Client]. URL is required. The zero value of every other field means
// its default.
type ClientConfig struct {
	URL              string        `config:"url" format:"url:http,https" mask:"url" help:"http://host:port or https://host, with the path prefix of the service, if any"`
	Timeout          time.Duration `config:"timeout" default:"30s" min:"1ms" help:"maximum time of a call whose caller sets no deadline"`
	DialTimeout      time.Duration `config:"connect_timeout" default:"5s" min:"1ms" help:"maximum time to connect, and again for the TLS handshake"`
	IdleTimeout      time.Duration `config:"idle_timeout" default:"90s" min:"1ms" help:"time after which an idle connection is closed"`
	MaxIdle          int           `config:"max_idle_connections" default:"100" min:"1" help:"maximum number of idle connections"`
	MaxConnections   int           `config:"max_connections" default:"1000" min:"1" help:"maximum number of connections; further calls wait"`
	MaxResponseBytes int64         `config:"max_response_bytes" default:"4194304" min:"1" help:"maximum size of a response in bytes"`

	// EventStreams makes the client receive streams as Server-Sent Events instead of JSON Lines,
	// for proxies that pass on only Server-Sent Events without delay. The default is JSON Lines.
	EventStreams bool `config:"event_streams" help:"receive streams as Server-Sent Events, for proxies that pass only those on at once"`

	// TLS is the configuration for https URLs; nil means the defaults of package crypto/tls.
	TLS *tls.Config `config:"-"`
}

func (c ClientConfig) withDefaults() ClientConfig {
	c.Timeout = cmp.Or(c.Timeout, 30*time.Second)
	c.DialTimeout = cmp.Or(c.DialTimeout, 5*time.Second)
	c.IdleTimeout = cmp.Or(c.IdleTimeout, 90*time.Second)
	c.MaxIdle = cmp.Or(c.MaxIdle, 100)
	c.MaxConnections = cmp.Or(c.MaxConnections, 1000)
	c.MaxResponseBytes = cmp.Or(c.MaxResponseBytes, 4<<20)
	return c
}

// Client calls endpoints that a [Server] serves. It does not follow redirects. It is safe for
// concurrent use.
type Client struct {
	config ClientConfig
	base   *url.URL
	http   *http.Client
}

// NewClient returns a client with the configuration c. The client connects when it is first used.
// NewClient returns an error if the URL of c is not an http or https URL, or has a query.
func NewClient(c ClientConfig) (*Client, error) {
	c = c.withDefaults()
	base, err := url.Parse(c.URL)
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" || base.RawQuery != "" {
		// The parser's error may contain a password.
		return nil, errors.New("httpapi: the client's url must be http://host:port or https://host, with an optional path and without a query")
	}
	dialer := &net.Dialer{Timeout: c.DialTimeout}
	return &Client{config: c, base: base, http: &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: dialer.DialContext, TLSClientConfig: c.TLS, TLSHandshakeTimeout: c.DialTimeout, ForceAttemptHTTP2: true,
			MaxIdleConns: c.MaxIdle, MaxIdleConnsPerHost: c.MaxIdle, MaxConnsPerHost: c.MaxConnections, IdleConnTimeout: c.IdleTimeout,
			MaxResponseHeaderBytes: 64 << 10, Proxy: http.ProxyFromEnvironment,
			HTTP2: &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: c.DialTimeout},
		},
	}}, nil
}

// pingAfter is the time without a frame after which a client pings the server on an HTTP/2
// connection. All calls share this connection: without pings, they would time out for minutes after
// the server has vanished. Over HTTP/1.1, no pings are needed, because a call that times out closes
// its connection.
const pingAfter = 15 * time.Second

// Close closes the idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// clientRoute holds the plans for the requests and responses of one endpoint.
type clientRoute struct {
	method, path string
	params       params
	hasBody      bool
	hasResponse  bool
	response     *responsePlan
	timeout      time.Duration // for a call without a deadline; 0 means the client's timeout
}

// Bind implements the interface Caller of package client. It returns the binding of e and a handler
// that calls e. It returns an error if e has no route or is not served over HTTP, or if its
// messages cannot be encoded.
func (c *Client) Bind(e *chassi.Endpoint) (*chassi.Binding, chassi.Handler, error) {
	b, rt, err := c.bind(e)
	if err != nil {
		return nil, nil, err
	}
	return b, func(ctx context.Context, call *chassi.Call) error { return c.call(ctx, rt, call) }, nil
}

func (c *Client) bind(e *chassi.Endpoint) (*chassi.Binding, *clientRoute, error) {
	if err := transport.CheckServed(e, "http"); err != nil {
		return nil, nil, err //nolint:wrapcheck // says which endpoint
	}
	method, path := e.Route()
	if method == "" {
		return nil, nil, fmt.Errorf("%s has no route, so it cannot be called over HTTP", e.FullName())
	}
	rt := &clientRoute{method: method, path: path}
	var err error
	if rt.response, err = planResponse(e); err != nil {
		return nil, nil, fmt.Errorf("the response %v: %w", e.ResponseType(), err)
	}
	rt.hasResponse = hasJSON(e, rt.response)
	if request, response := e.Files(); request || response {
		rt.timeout = e.Timeout()
	}
	if rt.params, rt.hasBody, err = planParams(e.RequestType(), path); err != nil {
		return nil, nil, err
	}
	b := &chassi.Binding{Endpoint: e, Transport: "http", Client: true, Method: method, Route: path, Status: transport.CodeStatus}
	return b, rt, nil
}

func (c *Client) call(ctx context.Context, rt *clientRoute, call *chassi.Call) error {
	cancel := func() {}
	if _, ok := ctx.Deadline(); !ok {
		ctx, cancel = context.WithTimeout(ctx, cmp.Or(rt.timeout, c.config.Timeout))
	}
	end := func() { cancel() }
	defer func() { end() }()
	if err := transport.CheckMetadata(call.In); err != nil {
		return err
	}
	request, err := c.request(ctx, rt, call)
	if err != nil {
		return cannotSend(err)
	}
	if sent, ok := request.Body.(*sentBody); ok {
		defer sent.file.end()
	}
	response, err := c.http.Do(request) //nolint:bodyclose // end closes it
	if err != nil {
		return unsent(ctx, request, err)
	}
	end = func() { _ = response.Body.Close(); cancel() }
	for key, values := range response.Header {
		call.Out.Set(key, values[0])
	}
	if rt.response != nil && rt.response.file != nil && !rt.isProblem(response) {
		if err := rt.readFile(response, call.Response, end); err != nil {
			return err
		}
		end = func() {} // when the file is closed
		return nil
	}
	body, err := c.readBody(response)
	tooLarge := int64(len(body)) > c.config.MaxResponseBytes
	switch {
	case rt.isProblem(response) && (err == nil || ctx.Err() == nil): // the status is known, even with an incomplete body
		return problemOf(response, body)
	case err != nil:
		return unavailable(ctx, "The response was interrupted", err)
	case tooLarge:
		return transport.ErrResponseTooLarge.WithCause(fmt.Errorf("httpapi: the response exceeds the client's max_response_bytes, %d", c.config.MaxResponseBytes))
	case len(body) == 0 && (!rt.hasResponse || response.StatusCode == http.StatusNoContent || response.StatusCode == http.StatusResetContent):
		return rt.readFields(response, call.Response)
	}
	if err := strictjson.DecodeResponse(body, call.Response); err != nil {
		return malformedResponse(err)
	}
	return rt.readFields(response, call.Response)
}

// readBody returns the body of a response, truncated to one byte more than the maximum, so that the
// caller can detect a body that is too large. If the server has switched to another protocol, which
// no call requests, readBody returns nil, because canceling the context would not interrupt a read.
func (c *Client) readBody(response *http.Response) ([]byte, error) {
	if response.StatusCode == http.StatusSwitchingProtocols {
		return nil, nil
	}
	return io.ReadAll(io.LimitReader(response.Body, past(c.config.MaxResponseBytes))) //nolint:wrapcheck // the caller says of what
}

// readFields sets the fields of response that are not sent as JSON. It reads their values from
// reply, the HTTP response.
func (rt *clientRoute) readFields(reply *http.Response, response any) error {
	if rt.response == nil {
		return nil
	}
	if err := rt.response.read(reflect.ValueOf(response).Elem(), reply); err != nil {
		return malformedResponse(err)
	}
	return nil
}

// cannotSend returns the error for a request that cannot be sent because of err. If err is a
// fieldError, the returned error names the field.
func cannotSend(err error) error {
	e := chassi.NewError(chassi.InvalidArgument, "malformed_request", "The request cannot be encoded").WithCause(err)
	if field, ok := errors.AsType[*fieldError](err); ok {
		e = e.WithViolations(chassi.Violation{Field: field.name, Message: field.err.Error()})
	}
	return e
}

// fieldError is the reason why a field cannot be encoded.
type fieldError struct {
	name string
	err  error
}

func (e *fieldError) Error() string { return e.name + ": " + e.err.Error() }

func (rt *clientRoute) isProblem(response *http.Response) bool {
	status := response.StatusCode
	return status < 200 || status > 299 && (rt.response == nil || !slices.Contains(rt.response.statuses, status))
}

// unreachable returns the error for a request that failed with err before a response arrived: the
// error for ctx.Err() if ctx is done, and otherwise an error with the code Unavailable.
func unreachable(ctx context.Context, err error) error {
	return unavailable(ctx, "The service cannot be reached", err)
}

// unavailable returns the error for a call that failed with err: the error for ctx.Err() if ctx is
// done, and otherwise an error with the code Unavailable and the given message.
func unavailable(ctx context.Context, message string, err error) error {
	if ctx.Err() != nil {
		return chassi.ErrorOf(ctx.Err()).WithCause(errors.Join(ctx.Err(), err))
	}
	return chassi.NewError(chassi.Unavailable, "unreachable", message).WithCause(err)
}

// unsent returns the error for a request that failed with err and has received no response. If the
// file of the request could not be read and ctx is not done, the error has the code
// InvalidArgument, because the service has not failed.
func unsent(ctx context.Context, request *http.Request, err error) error {
	if sent, ok := request.Body.(*sentBody); ok && ctx.Err() == nil {
		if failed := sent.file.failure(); failed != nil {
			return cannotSend(failed)
		}
	}
	return unreachable(ctx, err)
}

func malformedResponse(err error) error {
	return chassi.NewError(chassi.Internal, "malformed_response", "The service's response is malformed").WithCause(err)
}

func (c *Client) request(ctx context.Context, rt *clientRoute, call *chassi.Call) (*http.Request, error) {
	u := *c.base
	header := make(http.Header, 8)
	path, query, err := rt.params.write(rt.path, call.Request, header)
	if err != nil {
		return nil, err
	}
	u.RawPath = strings.TrimSuffix(u.EscapedPath(), "/") + path
	if u.Path, err = url.PathUnescape(u.RawPath); err != nil {
		return nil, err //nolint:wrapcheck // says what
	}
	u.RawQuery = query.Encode()
	var body io.Reader
	var sent *sentFile
	if rt.params.file != nil {
		if sent, err = rt.params.writeFile(call.Request, header); err != nil {
			return nil, err
		}
		body = sent.open()
	} else if rt.hasBody {
		var b []byte
		if err := strictjson.Append(&b, rt.params.withoutParams(call.Request)); err != nil {
			return nil, err //nolint:wrapcheck // says what
		}
		body = bytes.NewReader(b)
		header["Content-Type"] = jsonType
	}
	request, err := http.NewRequestWithContext(ctx, rt.method, u.String(), body)
	if err != nil {
		return nil, err //nolint:wrapcheck // says what
	}
	if sent != nil {
		request.ContentLength, request.GetBody = sent.size(), sent.reopen()
	}
	request.Header = header
	if in, ok := call.In.(*transport.Pairs); ok {
		for _, pair := range *in {
			header.Set(pair.Key, pair.Value)
		}
	}
	transport.SetTimeout(ctx, requestMetadata(header))
	return request, nil
}

// problemOf returns the error that an unsuccessful response describes. If the response has no valid
// problem document, for example because an intermediary sent the response, or if the code in the
// document is unknown, the status determines the code.
func problemOf(response *http.Response, body []byte) error {
	var p problem
	e := &chassi.Error{Code: codeOf(response.StatusCode), Message: http.StatusText(response.StatusCode)}
	if strings.HasPrefix(response.Header.Get("Content-Type"), "application/problem+json") && json.Unmarshal(body, &p) == nil && p.Error != "" {
		code := e.Code
		e = p.asError()
		if _, ok := chassi.ParseCode(p.Code); !ok {
			e.Code = code
		}
	} else {
		e.Reason = e.Code.String()
		e.Cause = fmt.Errorf("status %d without a valid problem document", response.StatusCode)
	}
	if e.RetryAfter == 0 {
		e.RetryAfter = parseRetryAfter(response.Header.Get("Retry-After"))
	}
	return e
}

// asError returns the error that p describes.
func (p *problem) asError() *chassi.Error {
	e := chassi.NewError(chassi.Unknown, p.Error, p.Message)
	e.Violations, e.Details, e.RetryAfter = p.Violations, strictjson.ParseDetails(p.Details), transport.RetryAfter(p.RetryAfterMS, time.Millisecond)
	if code, ok := chassi.ParseCode(p.Code); ok {
		e.Code = code
	}
	return e
}

// parseRetryAfter returns the delay in a Retry-After header, which is a number of seconds or a date
// (RFC 9110, section 10.2.3), limited to 24 hours. It returns 0 if text is neither a number nor a
// date.
func parseRetryAfter(text string) time.Duration {
	if seconds, err := strconv.ParseInt(text, 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		return transport.RetryAfter(seconds, time.Second)
	}
	if at, err := http.ParseTime(text); err == nil {
		return transport.RetryAfter(int64(time.Until(at)), 1)
	}
	return 0
}

// codeOf returns the code for the status of an unsuccessful response that does not contain a known
// code.
func codeOf(status int) chassi.Code {
	switch status {
	case http.StatusUnauthorized:
		return chassi.Unauthenticated
	case http.StatusForbidden:
		return chassi.PermissionDenied
	case http.StatusNotFound:
		return chassi.NotFound
	case http.StatusConflict:
		return chassi.Aborted
	case http.StatusRequestEntityTooLarge, http.StatusTooManyRequests, http.StatusRequestHeaderFieldsTooLarge:
		return chassi.ResourceExhausted
	case http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return chassi.Unimplemented
	case http.StatusRequestTimeout, http.StatusGatewayTimeout:
		return chassi.DeadlineExceeded
	case http.StatusBadGateway, http.StatusServiceUnavailable:
		return chassi.Unavailable
	}
	if status >= 400 && status <= 499 {
		return chassi.InvalidArgument
	}
	return chassi.Unknown
}
