// Command client is the client that connectconformance tests: the client of package grpcapi. It
// reads ClientCompatRequests from standard input until the end of the input, makes the calls, and
// writes a ClientCompatResponse for each call to standard output.
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"os"
	"reflect"
	"strconv"
	"sync"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/conformance"
	"github.com/chassi-go/chassi/schema/protobuf"
	"github.com/chassi-go/chassi/transport"
	"github.com/chassi-go/chassi/transport/grpcapi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
)

const (
	// atOnce is the maximum number of calls in flight.
	atOnce = 16
	// compressionGzip is the number of gzip in the messages of the suite.
	compressionGzip = 2
)

func main() {
	if err := run(context.Background(), bufio.NewReader(os.Stdin), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "conformance client:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, in io.Reader, out io.Writer) error {
	var (
		wg     sync.WaitGroup
		mu     sync.Mutex // guards out and failed
		failed error
		places = make(chan struct{}, atOnce)
	)
	for {
		r := new(conformance.ClientCompatRequest)
		err := conformance.ReadFrame(in, r)
		if err != nil {
			wg.Wait()
			if errors.Is(err, io.EOF) {
				return failed
			}
			return errors.Join(err, failed)
		}
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			response := respondTo(ctx, r)
			mu.Lock()
			defer mu.Unlock()
			failed = errors.Join(failed, conformance.WriteFrame(out, response))
		})
	}
}

func respondTo(ctx context.Context, r *conformance.ClientCompatRequest) *conformance.ClientCompatResponse {
	result, err := call(ctx, r)
	if err != nil {
		return &conformance.ClientCompatResponse{TestName: r.TestName, Error: &conformance.ClientError{Message: err.Error()}}
	}
	return &conformance.ClientCompatResponse{TestName: r.TestName, Response: result}
}

// service returns the service of the suite with the methods that the client can call.
func service() *chassi.Service {
	return chassi.NewService(conformance.Service,
		chassi.NewEndpoint("Unary", method[conformance.UnaryRequest, conformance.UnaryResponse], chassi.Public),
		chassi.NewEndpoint("IdempotentUnary", method[conformance.UnaryRequest, conformance.UnaryResponse], chassi.Public),
		chassi.NewStream("ServerStream", serverStream, chassi.Public),
		chassi.NewEndpoint("Unimplemented", method[conformance.Nothing, conformance.Nothing], chassi.Public),
	)
}

// method is the implementation of the unary methods of service. It is never called: a client needs
// only its types.
func method[Req, Res any](context.Context, *Req) (*Res, error) {
	return nil, chassi.NewError(chassi.Unimplemented, "unimplemented", "The client implements no methods")
}

func serverStream(context.Context, *conformance.ServerStreamRequest) (iter.Seq2[*conformance.UnaryResponse, error], error) {
	return nil, chassi.NewError(chassi.Unimplemented, "unimplemented", "The client implements no methods")
}

// call makes the call that r describes and returns what the client received, which may be an error
// of the server. It returns an error if the call cannot be made.
func call(ctx context.Context, r *conformance.ClientCompatRequest) (*conformance.ClientResult, error) {
	ctx, cancel := contextOf(ctx, r)
	defer cancel()
	result := new(conformance.ClientResult)
	config, err := configOf(ctx, r, result)
	if err != nil {
		return nil, err
	}
	c, err := grpcapi.Dial(config)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if r.Method == nil {
		return nil, errors.New("the request names no method")
	}
	e := service().Endpoint(*r.Method)
	if e == nil || len(r.RequestMessages) != 1 {
		return nil, fmt.Errorf("cannot call %s with %d messages: want a known method and one message", *r.Method, len(r.RequestMessages))
	}
	bind := c.Bind
	if e.Streams() {
		bind = c.BindStream
	}
	b, handler, err := bind(e)
	if err != nil {
		return nil, err
	}
	request, response := reflect.New(e.RequestType()).Interface(), reflect.New(e.ResponseType()).Interface()
	plan, err := protobuf.PlanOf(e.RequestType())
	if err == nil {
		err = plan.Decode(r.RequestMessages[0].Value, request)
	}
	if err != nil {
		return nil, err
	}
	made := &chassi.Call{Binding: b, In: new(transport.Pairs), Out: new(transport.Pairs), Request: request, Response: response}
	if e.Streams() {
		made.Stream = chassi.NewStreamState()
		made.Stream.Deliver = func(_ context.Context, item any) bool {
			result.Payloads = append(result.Payloads, payloadOf(item))
			return r.Cancel == nil || r.Cancel.AfterNumResponses == nil || len(result.Payloads) < int(*r.Cancel.AfterNumResponses)
		}
	}
	if err := handler(ctx, made); err != nil {
		result.Error = errorOf(chassi.ErrorOf(err))
	} else if !e.Streams() {
		result.Payloads = append(result.Payloads, payloadOf(response))
	}
	return result, nil
}

func payloadOf(response any) (payload conformance.Payload) {
	if reply, ok := response.(*conformance.UnaryResponse); ok && reply.Payload != nil {
		payload = *reply.Payload
	}
	return payload
}

// configOf returns the configuration of a client with interceptors that store the metadata of the
// response in result. The interceptor of unary calls replaces the context of a call with caller,
// because the suite requires calls without a deadline and the client sets one.
func configOf(caller context.Context, r *conformance.ClientCompatRequest, result *conformance.ClientResult) (grpcapi.ClientConfig, error) {
	config := grpcapi.ClientConfig{
		Target: net.JoinHostPort(r.Host, strconv.FormatUint(uint64(r.Port), 10)), MaxMessageBytes: int(r.MessageReceiveLimit), Timeout: time.Minute,
		Options: []grpc.DialOption{grpc.WithStreamInterceptor(
			func(
				ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, streamer grpc.Streamer, options ...grpc.CallOption,
			) (grpc.ClientStream, error) {
				md, _ := metadata.FromOutgoingContext(caller)
				stream, err := streamer(metadata.NewOutgoingContext(ctx, md), desc, conn, method, options...)
				return &recorded{stream, result}, err
			}), grpc.WithUnaryInterceptor(
			func(_ context.Context, method string, request, response any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
				var header, trailer metadata.MD
				err := invoke(caller, method, request, response, conn, append(options, grpc.Header(&header), grpc.Trailer(&trailer))...)
				result.ResponseHeaders, result.ResponseTrailers = conformance.HeadersOf(header), conformance.HeadersOf(trailer)
				return err
			})},
	}
	if r.Compression == compressionGzip {
		config.Options = append(config.Options, grpc.WithDefaultCallOptions(grpc.UseCompressor(gzip.Name)))
	}
	if len(r.ServerTLSCert) == 0 {
		return config, nil
	}
	config.TLS = &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
	if !config.TLS.RootCAs.AppendCertsFromPEM(r.ServerTLSCert) {
		return config, errors.New("the server's certificate is not a valid certificate in PEM")
	}
	if r.ClientTLSCreds != nil {
		pair, err := tls.X509KeyPair(r.ClientTLSCreds.Cert, r.ClientTLSCreds.Key)
		if err != nil {
			return config, fmt.Errorf("the client's certificate: %w", err)
		}
		config.TLS.Certificates = append(config.TLS.Certificates, pair)
	}
	return config, nil
}

// recorded is a stream that stores the metadata of the response in result.
type recorded struct {
	grpc.ClientStream

	result *conformance.ClientResult
}

// RecvMsg receives the next message into m and returns the error of the stream. It stores the
// metadata of the response when the stream ends. It implements [grpc.ClientStream].
func (r *recorded) RecvMsg(m any) error {
	err := r.ClientStream.RecvMsg(m)
	if err != nil {
		header, _ := r.Header()
		r.result.ResponseHeaders, r.result.ResponseTrailers = conformance.HeadersOf(header), conformance.HeadersOf(r.Trailer())
	}
	return err //nolint:wrapcheck // as it is
}

// contextOf waits for the delay of r and returns a context with the metadata and the timeout of r.
// If r.Cancel specifies a time, the context is canceled after that time. The caller must call the
// returned function when the call has completed.
func contextOf(ctx context.Context, r *conformance.ClientCompatRequest) (context.Context, context.CancelFunc) {
	ctx = metadata.NewOutgoingContext(ctx, conformance.MetadataOf(r.RequestHeaders))
	time.Sleep(time.Duration(r.RequestDelayMS) * time.Millisecond)
	cancel := context.CancelFunc(func() {})
	if r.TimeoutMS != nil {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(*r.TimeoutMS)*time.Millisecond)
	}
	if r.Cancel == nil || r.Cancel.AfterNumResponses != nil {
		return ctx, cancel
	}
	ctx, end := context.WithCancel(ctx)
	timer := time.AfterFunc(time.Duration(r.Cancel.AfterCloseSendMS)*time.Millisecond, end)
	return ctx, func() {
		timer.Stop()
		end()
		cancel()
	}
}

func errorOf(e *chassi.Error) *conformance.Error {
	out := &conformance.Error{Code: int32(e.Code), Message: &e.Message}
	for _, d := range e.Details {
		if name, body, err := protobuf.EncodeDetail(d); err == nil {
			out.Details = append(out.Details, conformance.Any{TypeURL: conformance.TypePrefix + name, Value: body})
		}
	}
	return out
}
