// Command server is the server that connectconformance tests. It serves the unary methods and the
// server stream of the suite's service with package grpcapi or, for the Connect protocol, only the
// unary methods with package httpapi. It reads a ServerCompatRequest from standard input, writes a
// ServerCompatResponse to standard output, and serves until SIGINT or SIGTERM.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/conformance"
	"github.com/chassi-go/chassi/transport/certs"
	"github.com/chassi-go/chassi/transport/grpcapi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// callTimeout is the timeout of calls in the gRPC server. It is so long that an earlier deadline
// must come from the client.
const callTimeout = time.Hour

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "conformance server:", err)
		os.Exit(1) //nolint:gocritic // nothing is left to stop
	}
}

func run(ctx context.Context, in io.Reader, out io.Writer) error {
	var wanted conformance.ServerCompatRequest
	if err := conformance.ReadFrame(in, &wanted); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "conformance")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	files, err := install(dir, &wanted)
	if err != nil {
		return err
	}
	s, err := newServer(&wanted, files)
	if err != nil {
		return err
	}
	if err := s.Mount(service()); err != nil {
		return err
	}
	if err := s.Start(ctx); err != nil {
		return err
	}
	response := conformance.ServerCompatResponse{Host: "127.0.0.1", Port: uint32(s.Addr().(*net.TCPAddr).Port)}
	if wanted.UseTLS {
		response.PEMCert = wanted.ServerCreds.Cert
	}
	if err := conformance.WriteFrame(out, &response); err != nil {
		return err
	}
	<-ctx.Done()
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return s.Stop(stopping)
}

// server is a transport that provides the address at which it listens.
type server interface {
	chassi.Transport
	Addr() net.Addr
}

func newServer(wanted *conformance.ServerCompatRequest, files certs.Files) (server, error) {
	if wanted.Protocol == protocolConnect {
		return newConnectServer(wanted, files)
	}
	return grpcapi.New(grpcapi.Config{
		Addr: "127.0.0.1:0", TLS: files, MaxMessageBytes: int(wanted.MessageReceiveLimit), CallTimeout: callTimeout, Logger: logger(),
	}), nil
}

func logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// install writes the certificates and the key for TLS to files in dir, from which the server reads
// them. It returns the paths of the files, which are empty if TLS is not requested.
func install(dir string, wanted *conformance.ServerCompatRequest) (files certs.Files, err error) {
	if !wanted.UseTLS {
		return files, nil
	}
	if wanted.ServerCreds == nil {
		return files, errors.New("TLS is requested without a certificate for the server")
	}
	write := func(name string, content []byte) string {
		if len(content) == 0 {
			return ""
		}
		path := filepath.Join(dir, name)
		err = errors.Join(err, os.WriteFile(path, content, 0o600))
		return path
	}
	files.CertFile = write("tls.crt", wanted.ServerCreds.Cert)
	files.KeyFile = write("tls.key", wanted.ServerCreds.Key)
	files.ClientCAFile = write("clients.crt", wanted.ClientTLSCert)
	return files, err
}

func service() *chassi.Service {
	return chassi.NewService(conformance.Service,
		chassi.NewEndpoint("Unary", unary("UnaryRequest"), chassi.Public),
		chassi.NewEndpoint("IdempotentUnary", unary("IdempotentUnaryRequest"), chassi.Public, chassi.Idempotent),
		chassi.NewStream("ServerStream", serverStream, chassi.Public, chassi.Finite),
	)
}

// metadataKey is the context key of the callMetadata of a call.
type metadataKey struct{}

// callMetadata provides access to the headers and trailers of a call as they are on the wire. The
// metadata of a [chassi.Call] contains neither repeated headers nor trailers.
type callMetadata interface {
	received() []conformance.Header
	send(d *conformance.ResponseDefinition) error
}

func metadataOf(ctx context.Context) callMetadata {
	if m, ok := ctx.Value(metadataKey{}).(callMetadata); ok {
		return m
	}
	return grpcMetadata{ctx}
}

// grpcMetadata is the callMetadata of a call over gRPC. It uses the functions of grpc-go.
type grpcMetadata struct{ ctx context.Context } //nolint:containedctx // they live in it

func (m grpcMetadata) received() []conformance.Header {
	md, _ := metadata.FromIncomingContext(m.ctx)
	return conformance.HeadersOf(md)
}

func (m grpcMetadata) send(d *conformance.ResponseDefinition) error {
	return errors.Join(grpc.SetHeader(m.ctx, conformance.MetadataOf(d.ResponseHeaders)), grpc.SetTrailer(m.ctx, conformance.MetadataOf(d.ResponseTrailers)))
}

// unary returns a method that returns the requested response or error. message is the name of the
// request message in the suite.
func unary(message string) func(context.Context, *conformance.UnaryRequest) (*conformance.UnaryResponse, error) {
	return func(ctx context.Context, r *conformance.UnaryRequest) (*conformance.UnaryResponse, error) {
		info, err := describe(ctx, message, r)
		if err != nil {
			return nil, err
		}
		d := r.ResponseDefinition
		if d == nil {
			return &conformance.UnaryResponse{Payload: &conformance.Payload{RequestInfo: info}}, nil
		}
		if err := metadataOf(ctx).send(d); err != nil {
			return nil, err
		}
		select {
		case <-time.After(time.Duration(d.ResponseDelayMS) * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		payload := &conformance.Payload{RequestInfo: info}
		switch {
		case d.Error != nil:
			return nil, errorOf(d.Error, info)
		case d.ResponseData != nil:
			payload.Data = *d.ResponseData
		}
		return &conformance.UnaryResponse{Payload: payload}, nil
	}
}

// serverStream returns the requested items, followed by the requested error, if any. The first item
// contains the description of the request. If there is no item, the error contains the description.
// serverStream works only over gRPC.
func serverStream(ctx context.Context, r *conformance.ServerStreamRequest) (iter.Seq2[*conformance.UnaryResponse, error], error) {
	info, err := describe(ctx, "ServerStreamRequest", r)
	if err != nil {
		return nil, err
	}
	d := r.ResponseDefinition
	if d == nil {
		d = new(conformance.StreamDefinition)
	}
	if err := grpc.SetHeader(ctx, conformance.MetadataOf(d.ResponseHeaders)); err != nil {
		return nil, err
	}
	if err := grpc.SetTrailer(ctx, conformance.MetadataOf(d.ResponseTrailers)); err != nil {
		return nil, err
	}
	if d.Error != nil && len(d.ResponseData) == 0 {
		return nil, errorOf(d.Error, info)
	}
	return func(yield func(*conformance.UnaryResponse, error) bool) {
		for i, data := range d.ResponseData {
			payload := &conformance.Payload{Data: data}
			if i == 0 {
				payload.RequestInfo = info
			}
			select {
			case <-time.After(time.Duration(d.ResponseDelayMS) * time.Millisecond):
			case <-ctx.Done():
				return
			}
			if !yield(&conformance.UnaryResponse{Payload: payload}, nil) {
				return
			}
		}
		if d.Error != nil {
			yield(nil, errorOf(d.Error, nil))
		}
	}, nil
}

// errorOf returns the requested error. If info is not nil, the error has it as a further detail.
// The error has no Reason, because the Reason would become a detail that the suite does not expect.
// The details are passed in encoded form, because their JSON form would differ from that of the
// suite (see connect.yaml).
func errorOf(wanted *conformance.Error, info *conformance.RequestInfo) error {
	e := &chassi.Error{Code: chassi.Code(wanted.Code)}
	if wanted.Message != nil {
		e.Message = *wanted.Message
	}
	details := make([]chassi.Detail, 0, len(wanted.Details)+1)
	for _, d := range wanted.Details {
		details = append(details, &chassi.EncodedDetail{Name: d.TypeURL[len(conformance.TypePrefix):], Protobuf: d.Value})
	}
	if info == nil {
		return e.WithDetails(details...)
	}
	body, err := conformance.Encode(info)
	if err != nil {
		return err
	}
	return e.WithDetails(append(details, &chassi.EncodedDetail{Name: info.DetailName(), Protobuf: body})...)
}

func describe(ctx context.Context, message string, r any) (*conformance.RequestInfo, error) {
	body, err := conformance.Encode(r)
	if err != nil {
		return nil, err
	}
	info := &conformance.RequestInfo{
		RequestHeaders: metadataOf(ctx).received(),
		Requests:       []conformance.Any{{TypeURL: conformance.TypePrefix + "connectrpc.conformance.v1." + message, Value: body}},
	}
	if deadline, ok := ctx.Deadline(); ok {
		if left := time.Until(deadline); left < callTimeout/2 {
			info.TimeoutMS = new(max(left.Milliseconds(), 0))
		}
	}
	return info, nil
}
