// Package conformance contains the messages of the Connect conformance suite
// (connectrpc.conformance.v1, release 1.0.5) that are needed for unary calls and for server streams
// over gRPC, as plain structs. It also contains functions that read and write them.
// scripts/conformance.sh runs the suite, which tests the programs in the subdirectories client and
// server.
package conformance

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"

	"github.com/chassi-go/chassi/schema/protobuf"
)

// Service is the name of the suite's service. TypePrefix is the prefix of a type URL.
const (
	Service    = "connectrpc.conformance.v1.ConformanceService"
	TypePrefix = "type.googleapis.com/"
)

// Any is a google.protobuf.Any message: an encoded message and the URL of its type.
type Any struct {
	TypeURL string `json:"type_url"`
	Value   []byte `json:"value"`
}

// Header is one header with its values.
type Header struct {
	Name  string   `json:"name"`
	Value []string `json:"value"`
}

// Error is an error that is to be sent or was received.
type Error struct {
	Code    int32   `json:"code"`
	Message *string `json:"message"`
	Details []Any   `json:"details"`
}

// ResponseDefinition describes the response to send. At most one of ResponseData and Error is set.
// RawResponse is an encoded message for the suite's own server.
type ResponseDefinition struct {
	ResponseHeaders  []Header `json:"response_headers"`
	ResponseData     *[]byte  `json:"response_data"`
	Error            *Error   `json:"error"`
	ResponseTrailers []Header `json:"response_trailers"`
	RawResponse      *[]byte  `json:"raw_response"`
	ResponseDelayMS  uint32   `json:"response_delay_ms"`
}

// UnaryRequest is the request of a unary call: the message UnaryRequest or IdempotentUnaryRequest
// of the suite.
type UnaryRequest struct {
	ResponseDefinition *ResponseDefinition `json:"response_definition"`
	RequestData        []byte              `json:"request_data"`
}

// UnaryResponse is the response of a unary call or an item of a stream: the message UnaryResponse,
// IdempotentUnaryResponse or ServerStreamResponse of the suite.
type UnaryResponse struct {
	Payload *Payload `json:"payload"`
}

// StreamDefinition describes the stream to send: an item for each element of ResponseData, and then
// Error if it is set. RawResponse is an encoded message for the suite's own server.
type StreamDefinition struct {
	ResponseHeaders  []Header `json:"response_headers"`
	ResponseData     [][]byte `json:"response_data"`
	ResponseDelayMS  uint32   `json:"response_delay_ms"`
	Error            *Error   `json:"error"`
	ResponseTrailers []Header `json:"response_trailers"`
	RawResponse      *[]byte  `json:"raw_response"`
}

// ServerStreamRequest is the request of a stream of [UnaryResponse] messages.
type ServerStreamRequest struct {
	ResponseDefinition *StreamDefinition `json:"response_definition"`
	RequestData        []byte            `json:"request_data"`
}

// Payload is the content of a response: the requested data and a description of the request.
type Payload struct {
	Data        []byte       `json:"data"`
	RequestInfo *RequestInfo `json:"request_info"`
}

// RequestInfo describes a received request. It is also used as a detail of errors.
type RequestInfo struct {
	RequestHeaders []Header `json:"request_headers"`
	TimeoutMS      *int64   `json:"timeout_ms"`
	Requests       []Any    `json:"requests"`
}

// DetailName returns the full name of the suite's message. It implements chassi.Detail.
func (RequestInfo) DetailName() string {
	return "connectrpc.conformance.v1.ConformancePayload.RequestInfo"
}

// Nothing is an empty message: the request and the response of the method Unimplemented.
type Nothing struct{}

// Credentials contains a certificate and its private key in PEM.
type Credentials struct {
	Cert []byte `json:"cert"`
	Key  []byte `json:"key"`
}

// ServerCompatRequest describes the server to start.
type ServerCompatRequest struct {
	Protocol            int32        `json:"protocol"`
	HTTPVersion         int32        `json:"http_version"`
	UseTLS              bool         `json:"use_tls" proto:"4"`
	ClientTLSCert       []byte       `json:"client_tls_cert" proto:"5"`
	MessageReceiveLimit uint32       `json:"message_receive_limit" proto:"6"`
	ServerCreds         *Credentials `json:"server_creds" proto:"7"`
}

// ServerCompatResponse contains the address of the started server and, with TLS, its certificate in
// PEM.
type ServerCompatResponse struct {
	Host    string `json:"host"`
	Port    uint32 `json:"port"`
	PEMCert []byte `json:"pem_cert"`
}

// ClientCompatRequest describes a call to make.
type ClientCompatRequest struct {
	TestName            string       `json:"test_name"`
	HTTPVersion         int32        `json:"http_version"`
	Protocol            int32        `json:"protocol"`
	Codec               int32        `json:"codec"`
	Compression         int32        `json:"compression"`
	Host                string       `json:"host"`
	Port                uint32       `json:"port"`
	ServerTLSCert       []byte       `json:"server_tls_cert"`
	ClientTLSCreds      *Credentials `json:"client_tls_creds"`
	MessageReceiveLimit uint32       `json:"message_receive_limit"`
	Service             *string      `json:"service"`
	Method              *string      `json:"method"`
	StreamType          int32        `json:"stream_type"`
	RequestHeaders      []Header     `json:"request_headers" proto:"15"`
	RequestMessages     []Any        `json:"request_messages" proto:"16"`
	TimeoutMS           *uint32      `json:"timeout_ms" proto:"17"`
	RequestDelayMS      uint32       `json:"request_delay_ms" proto:"18"`
	Cancel              *Cancel      `json:"cancel" proto:"19"`
}

// Cancel describes when a call is canceled: after AfterNumResponses responses or, if that is nil,
// AfterCloseSendMS milliseconds after the request.
type Cancel struct {
	AfterCloseSendMS  uint32  `json:"after_close_send_ms" proto:"2"`
	AfterNumResponses *uint32 `json:"after_num_responses" proto:"3"`
}

// ClientCompatResponse describes the outcome of a call: either Response or Error is set.
type ClientCompatResponse struct {
	TestName string        `json:"test_name"`
	Response *ClientResult `json:"response"`
	Error    *ClientError  `json:"error"`
}

// ClientResult contains what the client received for a call.
type ClientResult struct {
	ResponseHeaders  []Header  `json:"response_headers"`
	Payloads         []Payload `json:"payloads"`
	Error            *Error    `json:"error"`
	ResponseTrailers []Header  `json:"response_trailers"`
}

// ClientError describes why no call was made.
type ClientError struct {
	Message string `json:"message"`
}

// maxFrame is the maximum size in bytes of a message from the suite's runner.
const maxFrame = 64 << 20

// ReadFrame reads a message of the runner from r and decodes it into message, a pointer to a
// struct. A message is preceded by its length in four bytes, big endian. ReadFrame returns [io.EOF]
// at the end of r. It returns an error if the message is longer than 64 MiB, is incomplete, or
// cannot be decoded.
func ReadFrame(r io.Reader, message any) error {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return err //nolint:wrapcheck // io.EOF
	}
	n := binary.BigEndian.Uint32(length[:])
	if n > maxFrame {
		return fmt.Errorf("conformance: the message has %d bytes, more than the limit of %d", n, maxFrame)
	}
	body := make([]byte, n)
	if got, err := io.ReadFull(r, body); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF // io.EOF is the end between messages
		}
		return fmt.Errorf("conformance: read a message: got %d of %d bytes: %w", got, n, err)
	}
	plan, err := protobuf.PlanOf(reflect.TypeOf(message).Elem())
	if err == nil {
		err = plan.Decode(body, message)
	}
	return err
}

// WriteFrame encodes message, a pointer to a struct, and writes it to w in the format that
// [ReadFrame] reads. It returns an error if the message cannot be encoded or written.
func WriteFrame(w io.Writer, message any) error {
	body, err := Encode(message)
	if err != nil {
		return err
	}
	if len(body) > math.MaxUint32 {
		return errors.New("conformance: the message has 4 GiB or more")
	}
	frame := append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
	if _, err = w.Write(frame); err != nil {
		return fmt.Errorf("conformance: write a message: %w", err)
	}
	return nil
}

// Encode returns message, a pointer to a struct, in the encoding of Protocol Buffers. It returns an
// error if the message cannot be encoded.
func Encode(message any) ([]byte, error) {
	plan, err := protobuf.PlanOf(reflect.TypeOf(message).Elem())
	if err != nil {
		return nil, err
	}
	return plan.Append(nil, message)
}
