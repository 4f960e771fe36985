package httpapi

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/schema/strictjson"
	"github.com/chassi-go/chassi/transport"
	"github.com/go-json-experiment/json"
)

// ClientConfig sets up a [Client]. The zero value of every field but URL means
// the default in its tag.
type ClientConfig struct {
	URL              string        `config:"url" help:"http://host:port or https://host, with a path if the service has one in front of it"`
	Timeout          time.Duration `config:"timeout" default:"30s" min:"1ms" help:"for a call whose caller sets no deadline"`
	DialTimeout      time.Duration `config:"dial_timeout" default:"5s" min:"1ms" help:"for a connection, and again for its TLS handshake"`
	IdleTimeout      time.Duration `config:"idle_timeout" default:"90s" min:"1ms" help:"for an idle connection"`
	MaxIdle          int           `config:"max_idle" default:"100" min:"1" help:"idle connections kept"`
	MaxConnections   int           `config:"max_connections" default:"1000" min:"1" help:"connections at once; further calls wait"`
	MaxResponseBytes int64         `config:"max_response_bytes" default:"4194304" min:"1" help:"an answer"`

	// TLS is used for https URLs; nil is Go's default.
	TLS *tls.Config `config:"-"`
}

func (c ClientConfig) withDefaults() ClientConfig {
	setDefault(&c.Timeout, 30*time.Second)
	setDefault(&c.DialTimeout, 5*time.Second)
	setDefault(&c.IdleTimeout, 90*time.Second)
	setDefault(&c.MaxIdle, 100)
	setDefault(&c.MaxConnections, 1000)
	setDefault(&c.MaxResponseBytes, 4<<20)
	return c
}

// Client calls endpoints that a [Server] serves. Redirects are not followed. It is
// safe for concurrent use.
type Client struct {
	config ClientConfig
	base   *url.URL
	http   *http.Client
}

// NewClient makes a client. It connects to nothing yet.
func NewClient(c ClientConfig) (*Client, error) {
	c = c.withDefaults()
	base, err := url.Parse(c.URL)
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" || base.RawQuery != "" {
		return nil, errors.New("httpapi: url of the client: want http://host:port or https://host") // the parser's error may hold a password
	}
	dialer := &net.Dialer{Timeout: c.DialTimeout}
	return &Client{config: c, base: base, http: &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: dialer.DialContext, TLSClientConfig: c.TLS, TLSHandshakeTimeout: c.DialTimeout, ForceAttemptHTTP2: true,
			MaxIdleConns: c.MaxIdle, MaxIdleConnsPerHost: c.MaxIdle, MaxConnsPerHost: c.MaxConnections, IdleConnTimeout: c.IdleTimeout,
			MaxResponseHeaderBytes: 64 << 10, Proxy: http.ProxyFromEnvironment,
		},
	}}, nil
}

// Close closes the idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// clientRoute is how one endpoint is called.
type clientRoute struct {
	method, path string
	params       params
	hasBody      bool
}

// Bind prepares calls of e, which must have a route.
func (c *Client) Bind(e *chassi.Endpoint) (*chassi.Binding, chassi.Handler, error) {
	method, path := e.Route()
	if method == "" {
		return nil, nil, fmt.Errorf("%s has no route, so HTTP does not serve it", e.FullName())
	}
	rt := &clientRoute{method: method, path: path}
	var err error
	if rt.params, rt.hasBody, err = planParams(e.RequestType(), path); err != nil {
		return nil, nil, err
	}
	b := &chassi.Binding{Endpoint: e, Transport: "http", Client: true, Method: method, Route: path, Status: transport.CodeStatus}
	return b, func(ctx context.Context, call *chassi.Call) error { return c.call(ctx, rt, call) }, nil
}

func (c *Client) call(ctx context.Context, rt *clientRoute, call *chassi.Call) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.config.Timeout)
		defer cancel()
	}
	request, err := c.request(ctx, rt, call)
	if err != nil {
		return chassi.NewError(chassi.InvalidArgument, "malformed_request", "The request cannot be sent").WithCause(err)
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return unreachable(ctx, err)
	}
	defer answer.Body.Close()
	for key, values := range answer.Header {
		call.Out.Set(key, values[0])
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, c.config.MaxResponseBytes+1))
	switch {
	case err != nil:
		return unreachable(ctx, err)
	case int64(len(body)) > c.config.MaxResponseBytes:
		return malformedAnswer(fmt.Errorf("is longer than %d bytes", c.config.MaxResponseBytes))
	case answer.StatusCode < 200 || answer.StatusCode > 299:
		return problemOf(answer, body)
	case len(body) == 0:
		return nil
	}
	if err := strictjson.DecodeAnswer(body, call.Response); err != nil {
		return malformedAnswer(err)
	}
	return nil
}

// unreachable tells the end of the caller's patience from a service that cannot
// be reached.
func unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return chassi.ErrorOf(ctx.Err()).WithCause(errors.Join(ctx.Err(), err))
	}
	return chassi.NewError(chassi.Unavailable, "unreachable", "The service cannot be reached").WithCause(err)
}

func malformedAnswer(err error) error {
	return chassi.NewError(chassi.Internal, "malformed_answer", "The service's answer is malformed").WithCause(err)
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
	if rt.hasBody {
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
	request.Header = header
	if in, ok := call.In.(*transport.Pairs); ok {
		for _, pair := range *in {
			header.Set(pair.Key, pair.Value)
		}
	}
	transport.SetTimeout(ctx, requestMetadata(header))
	return request, nil
}

// problemOf turns an answer that is no success into the error that the service
// sent, or into one by its status, if something before the service answered.
func problemOf(answer *http.Response, body []byte) error {
	var p problem
	e := &chassi.Error{Code: codeOf(answer.StatusCode), Message: http.StatusText(answer.StatusCode)}
	if strings.HasPrefix(answer.Header.Get("Content-Type"), "application/problem+json") && json.Unmarshal(body, &p) == nil && p.Error != "" {
		e.Reason, e.Message, e.Violations, e.Details = p.Error, p.Message, p.Violations, strictjson.ParseDetails(p.Details)
		for _, code := range chassi.Codes() {
			if code.String() == p.Code {
				e.Code = code
			}
		}
	} else {
		e.Reason = e.Code.String()
		e.Cause = fmt.Errorf("status %d without a problem document", answer.StatusCode)
	}
	e.RetryAfter = parseRetryAfter(answer.Header.Get("Retry-After"))
	return e
}

// parseRetryAfter reads seconds or a date (RFC 9110, section 10.2.3), 0 for neither.
func parseRetryAfter(text string) time.Duration {
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(time.Until(at), 0)
	}
	return 0
}

// codeOf is the code for a status that no problem document explains.
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

// write puts the fields that are no part of the body where they belong: it
// returns the path with its wildcards filled, escaped, and the query.
func (p *params) write(pattern string, request any, header http.Header) (path string, query url.Values, err error) {
	path, query = strings.ReplaceAll(pattern, "{$}", ""), make(url.Values)
	v := reflect.ValueOf(request).Elem()
	for i := range p.fields {
		f := &p.fields[i]
		field, err := v.FieldByIndexErr(f.index)
		if err != nil {
			continue // in an embedded struct that is not there
		}
		texts, err := f.texts(field)
		if err == nil && f.source == "path" {
			path, err = fillPath(path, f.name, texts[0])
		}
		if err != nil {
			return "", nil, fmt.Errorf("%s: %w", f.name, err)
		}
		switch f.source {
		case "query":
			query[f.name] = texts
		case "header":
			header[http.CanonicalHeaderKey(f.name)] = texts
		}
	}
	return path, query, nil
}

// texts writes a field: nothing for one that is empty, unless it is in the path.
func (f *param) texts(field reflect.Value) ([]string, error) {
	if !f.many {
		if f.source != "path" && field.IsZero() {
			return nil, nil
		}
		text, err := textOf(field)
		return []string{text}, err
	}
	texts := make([]string, field.Len())
	for i := range texts {
		var err error
		if texts[i], err = textOf(field.Index(i)); err != nil {
			return nil, err
		}
	}
	return texts, nil
}

func fillPath(path, name, text string) (string, error) {
	if rest := "{" + name + "...}"; strings.Contains(path, rest) {
		segments := strings.Split(text, "/")
		for i := range segments {
			segments[i] = url.PathEscape(segments[i])
		}
		return strings.Replace(path, rest, strings.Join(segments, "/"), 1), nil
	}
	if text == "" || text == "." || text == ".." {
		return "", fmt.Errorf("%q cannot be a segment of a path", text)
	}
	return strings.Replace(path, "{"+name+"}", url.PathEscape(text), 1), nil
}

// withoutParams returns the request, without the fields that go elsewhere if
// there are any.
func (p *params) withoutParams(request any) any {
	if len(p.fields) == 0 {
		return request
	}
	body := reflect.New(reflect.TypeOf(request).Elem())
	body.Elem().Set(reflect.ValueOf(request).Elem())
	for i := range p.fields {
		if field, err := body.Elem().FieldByIndexErr(p.fields[i].index); err == nil {
			field.SetZero()
		}
	}
	return body.Interface()
}

// textOf writes what setterFor reads.
func textOf(v reflect.Value) (string, error) {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return "", nil
		}
		v = v.Elem()
	}
	if v.CanAddr() {
		if m, ok := reflect.TypeAssert[encoding.TextMarshaler](v.Addr()); ok {
			text, err := m.MarshalText()
			return string(text), err
		}
	}
	if d, ok := reflect.TypeAssert[time.Duration](v); ok {
		return d.String(), nil
	}
	return fmt.Sprint(v.Interface()), nil
}
