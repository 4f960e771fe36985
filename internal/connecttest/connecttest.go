// Package connecttest provides a client of the Connect protocol for tests.
package connecttest

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/schema/protobuf"
	"github.com/chassi-go/chassi/transport"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Caller implements client.Caller over the Connect protocol.
type Caller struct {
	URL      string         // URL of the server, without a path
	Client   *http.Client   // nil for http.DefaultClient
	JSON     *protobuf.JSON // JSON form of the services; nil for the binary form
	Gzip     bool           // whether requests are compressed
	MaxBytes int64          // maximum size of a response; 0 for 16 MiB
}

// NewJSON returns the JSON form of services, for Caller.JSON. It panics if the services have no
// such form.
func NewJSON(services ...*chassi.Service) *protobuf.JSON {
	form, err := protobuf.NewJSON(services...)
	if err != nil {
		panic(err) // the test's own services
	}
	return form
}

// Bind implements client.Caller. Metadata is sent only if it is a [*transport.Pairs].
func (c *Caller) Bind(e *chassi.Endpoint) (*chassi.Binding, chassi.Handler, error) {
	if err := transport.CheckServed(e, "http"); err != nil {
		return nil, nil, err //nolint:wrapcheck // says which endpoint
	}
	request, err := protobuf.PlanOf(e.RequestType())
	if err != nil {
		return nil, nil, err
	}
	response, err := protobuf.PlanOf(e.ResponseType())
	if err != nil {
		return nil, nil, err
	}
	b := &chassi.Binding{Endpoint: e, Transport: "http", Client: true, Method: http.MethodPost, Route: e.FullName(), Status: transport.CodeStatus}
	return b, func(ctx context.Context, call *chassi.Call) error {
		body, err := c.encode(request, call.Request)
		if err != nil {
			return chassi.NewError(chassi.InvalidArgument, "malformed_request", "The request cannot be encoded").WithCause(err)
		}
		if err := transport.CheckMetadata(call.In); err != nil {
			return err
		}
		reply, header, err := c.send(ctx, e, body, call.In)
		for key := range header {
			call.Out.Set(key, header.Get(key))
		}
		if err != nil {
			return err
		}
		if c.JSON != nil {
			return c.JSON.Decode(reply, response, call.Response, 1000)
		}
		return response.Decode(reply, call.Response)
	}, nil
}

func (c *Caller) encode(p *protobuf.Plan, message any) ([]byte, error) {
	if c.JSON != nil {
		return c.JSON.Append(nil, p, message)
	}
	return p.Append(nil, message)
}

// Send sends an encoded request for a call of e and returns the encoded response. If the server
// responds with an error, Send returns that error.
func (c *Caller) Send(ctx context.Context, e *chassi.Endpoint, body []byte) ([]byte, error) {
	response, _, err := c.send(ctx, e, body, nil)
	return response, err
}

func (c *Caller) send(ctx context.Context, e *chassi.Endpoint, body []byte, in chassi.Metadata) ([]byte, http.Header, error) {
	service, method := protobuf.FullName(e)
	if c.Gzip {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write(body)
		_ = z.Close()
		body = b.Bytes()
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL+"/"+service+"/"+method, bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	c.header(ctx, r.Header, in)
	client := c.Client
	if client == nil {
		client = http.DefaultClient
	}
	response, err := client.Do(r)
	if err != nil {
		return nil, nil, unreachable(ctx, err)
	}
	defer response.Body.Close()
	limit := c.MaxBytes
	if limit == 0 {
		limit = 16 << 20
	}
	b, err := io.ReadAll(io.LimitReader(response.Body, limit+1))
	switch {
	case err != nil:
		return nil, response.Header, unreachable(ctx, err)
	case response.StatusCode != http.StatusOK:
		return nil, response.Header, ErrorOf(response, b)
	case int64(len(b)) > limit:
		return nil, response.Header, transport.ErrResponseTooLarge
	case response.Header.Get("Content-Type") != r.Header.Get("Content-Type"):
		return nil, response.Header, fmt.Errorf("connecttest: the response has the content type %q, want %q", response.Header.Get("Content-Type"), r.Header.Get("Content-Type"))
	default:
		return b, response.Header, nil
	}
}

func (c *Caller) header(ctx context.Context, h http.Header, in chassi.Metadata) {
	if pairs, ok := in.(*transport.Pairs); ok {
		for _, pair := range *pairs {
			h.Set(pair.Key, pair.Value)
		}
	}
	h.Set("Content-Type", "application/proto")
	if c.JSON != nil {
		h.Set("Content-Type", "application/json")
	}
	if c.Gzip {
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("Connect-Protocol-Version", "1")
	if deadline, ok := ctx.Deadline(); ok {
		h.Set("Connect-Timeout-Ms", strconv.FormatInt(max(time.Until(deadline).Milliseconds(), 1), 10))
	}
}

func unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return chassi.ErrorOf(ctx.Err()).WithCause(errors.Join(ctx.Err(), err))
	}
	return chassi.NewError(chassi.Unavailable, "unreachable", "The service cannot be reached").WithCause(err)
}

// Failure is the JSON form of an error in the Connect protocol.
type Failure struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Details []struct {
		Type  string         `json:"type"`
		Value string         `json:"value"`
		Debug jsontext.Value `json:"debug"`
	} `json:"details"`
}

// ErrorOf returns the error that an unsuccessful response with the given body describes. If the
// content type of the response is not application/json or the body is not a [Failure], the code of
// the error depends on the status of the response. If the Failure is invalid or its code does not
// fit the status, ErrorOf returns an error that describes the fault.
func ErrorOf(response *http.Response, body []byte) error {
	var f Failure
	if response.Header.Get("Content-Type") != "application/json" || json.Unmarshal(body, &f, json.RejectUnknownMembers(true)) != nil {
		code := chassi.Unknown
		switch response.StatusCode {
		case http.StatusNotFound:
			code = chassi.Unimplemented
		case http.StatusServiceUnavailable:
			code = chassi.Unavailable
		case http.StatusTooManyRequests, http.StatusRequestHeaderFieldsTooLarge:
			code = chassi.ResourceExhausted
		}
		return chassi.NewError(code, code.String(), strings.TrimSpace(string(body)))
	}
	code, ok := chassi.ParseCode(f.Code)
	if !ok {
		return fmt.Errorf("connecttest: the error has the unknown code %q", f.Code)
	}
	if want := transport.HTTPStatus(code); want != response.StatusCode {
		return fmt.Errorf("connecttest: the response has the status %d, want %d for the code %q", response.StatusCode, want, f.Code)
	}
	e := chassi.NewError(code, code.String(), f.Message)
	details := make([]protobuf.ErrorDetail, len(f.Details))
	for i, d := range f.Details {
		value, err := base64.RawStdEncoding.DecodeString(d.Value)
		if err != nil {
			return fmt.Errorf("connecttest: decode the detail %s: %w", d.Type, err)
		}
		details[i] = protobuf.ErrorDetail{Name: d.Type, Protobuf: value}
	}
	protobuf.ReadErrorDetails(e, details)
	return e
}
