// The server is what connectconformance tests in its server mode: package grpcapi with
// the unary methods of the suite's service. It reads a ServerCompatRequest from the
// standard input, writes a ServerCompatResponse to the standard output, and serves
// until it gets SIGTERM or the input ends.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
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

// callTimeout is so long that a shorter deadline must be the caller's.
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
	s := grpcapi.New(grpcapi.Config{
		Addr: "127.0.0.1:0", TLS: files, MaxMessageBytes: int(wanted.MessageReceiveLimit), CallTimeout: callTimeout,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err := s.Mount(service()); err != nil {
		return err
	}
	if err := s.Start(ctx); err != nil {
		return err
	}
	answer := conformance.ServerCompatResponse{Host: "127.0.0.1", Port: uint32(s.Addr().(*net.TCPAddr).Port)}
	if wanted.UseTLS {
		answer.PEMCert = wanted.ServerCreds.Cert
	}
	if err := conformance.WriteFrame(out, &answer); err != nil {
		return err
	}
	<-ctx.Done()
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return s.Stop(stopping)
}

// install writes the certificates into files, which is where the server takes them
// from.
func install(dir string, wanted *conformance.ServerCompatRequest) (files certs.Files, err error) {
	if !wanted.UseTLS {
		return files, nil
	}
	if wanted.ServerCreds == nil {
		return files, errors.New("TLS is wanted, and there is no certificate for it")
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
	)
}

// unary answers what the request asks for. Repeated headers and trailers are set by
// grpc-go's own functions: no other transport has them.
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
		if err := grpc.SetHeader(ctx, conformance.MetadataOf(d.ResponseHeaders)); err != nil {
			return nil, err
		}
		if err := grpc.SetTrailer(ctx, conformance.MetadataOf(d.ResponseTrailers)); err != nil {
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

// errorOf makes the error that was asked for. It has no Reason, and so no detail but
// those of the suite.
func errorOf(wanted *conformance.Error, info *conformance.RequestInfo) error {
	e := &chassi.Error{Code: chassi.Code(wanted.Code)}
	if wanted.Message != nil {
		e.Message = *wanted.Message
	}
	details := make([]chassi.Detail, 0, len(wanted.Details)+1)
	for _, d := range wanted.Details {
		details = append(details, &chassi.EncodedDetail{Name: d.TypeURL[len(conformance.TypePrefix):], Protobuf: d.Value})
	}
	return e.WithDetails(append(details, info)...)
}

func describe(ctx context.Context, message string, r *conformance.UnaryRequest) (*conformance.RequestInfo, error) {
	body, err := conformance.Encode(r)
	if err != nil {
		return nil, err
	}
	md, _ := metadata.FromIncomingContext(ctx)
	info := &conformance.RequestInfo{
		RequestHeaders: conformance.HeadersOf(md),
		Requests:       []conformance.Any{{TypeURL: conformance.TypePrefix + "connectrpc.conformance.v1." + message, Value: body}},
	}
	if deadline, ok := ctx.Deadline(); ok {
		if left := time.Until(deadline); left < callTimeout/2 {
			info.TimeoutMS = new(max(left.Milliseconds(), 0))
		}
	}
	return info, nil
}
