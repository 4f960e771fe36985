package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/transport/certs"
	"github.com/chassi-go/chassi/transport/grpcapi"
	"github.com/chassi-go/chassi/transport/httpapi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

// serve starts all servers and returns the pairs to compare. The cases of gRPC have a shorter
// timeout, because many of them fail by waiting for a response that grpc-go does not send. The
// function stop stops the servers. It must be called even if serve returns an error.
func serve(ctx context.Context, files certs.Files) (pairs []pair, stop func(), err error) {
	var s servers
	for _, f := range []struct {
		suffix string
		files  certs.Files
	}{{"", certs.Files{}}, {" TLS", files}} {
		ours, plain := s.httpOurs(ctx, f.files), s.httpPlain(ctx, f.files)
		pairs = append(pairs,
			pair{"HTTP" + f.suffix, ours, plain, "/", f.files.Enabled(), 2 * time.Second},
			pair{"HTTP unread" + f.suffix, ours, plain, unread, f.files.Enabled(), 2 * time.Second},
			pair{"gRPC" + f.suffix, s.grpcOurs(ctx, f.files), s.grpcPlain(ctx, f.files), "/", f.files.Enabled(), time.Second})
	}
	return pairs, s.stop, errors.Join(s.errs...)
}

// servers contains the functions that stop the servers, and the errors that occurred at their
// start.
type servers struct {
	errs  []error
	stops []func()
}

func (s *servers) stop() {
	for _, stop := range s.stops {
		stop()
	}
}

// unread is the path of the requests that are rejected without reading their bodies.
const unread = "/unread"

// respond is the handler of every HTTP server. It reads the body and responds with a short text. It
// responds to requests for the path unread with status 404, without reading the body.
func respond(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == unread {
		http.NotFound(w, r)
		return
	}
	_, _ = io.Copy(io.Discard, r.Body)
	_, _ = io.WriteString(w, "hello, h2spec\n")
}

var quiet = slog.New(slog.DiscardHandler)

func (s *servers) httpOurs(ctx context.Context, files certs.Files) string {
	server, err := httpapi.New(httpapi.Config{Addr: "127.0.0.1:0", TLS: files, H2C: !files.Enabled(), Logger: quiet})
	if err == nil {
		err = server.Handle("/{$}", http.HandlerFunc(respond), chassi.Public)
	}
	if err == nil {
		err = server.Start(ctx)
	}
	if err != nil {
		s.errs = append(s.errs, err)
		return ""
	}
	s.stops = append(s.stops, func() { stopNow(server.Stop) })
	return server.Addr().String()
}

// stopNow calls stop with a canceled context, which stops a server without waiting for calls.
func stopNow(stop func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = stop(ctx) // says that there were calls
}

func (s *servers) httpPlain(ctx context.Context, files certs.Files) string {
	l := s.listen(ctx)
	server := &http.Server{
		Handler: http.HandlerFunc(respond), Protocols: new(http.Protocols), ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0),
	}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetHTTP2(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	go func() {
		if files.Enabled() {
			_ = server.ServeTLS(l, files.CertFile, files.KeyFile) // ends when it is closed
		} else {
			_ = server.Serve(l)
		}
	}()
	s.stops = append(s.stops, func() { _ = server.Close() })
	return l.Addr().String()
}

func (s *servers) grpcOurs(ctx context.Context, files certs.Files) string {
	server := grpcapi.New(grpcapi.Config{Addr: "127.0.0.1:0", TLS: files, Logger: quiet})
	if err := server.Start(ctx); err != nil {
		s.errs = append(s.errs, err)
		return ""
	}
	s.stops = append(s.stops, func() { stopNow(server.Stop) })
	return server.Addr().String()
}

func (s *servers) grpcPlain(ctx context.Context, files certs.Files) string {
	l := s.listen(ctx)
	options := []grpc.ServerOption{grpc.MaxConcurrentStreams(250)} // as ours: without a limit there is nothing to exceed
	if files.Enabled() {
		secure, err := credentials.NewServerTLSFromFile(files.CertFile, files.KeyFile)
		s.errs = append(s.errs, err)
		options = append(options, grpc.Creds(secure))
	}
	server := grpc.NewServer(options...)
	go func() { _ = server.Serve(l) }()
	s.stops = append(s.stops, server.Stop)
	return l.Addr().String()
}

func (s *servers) listen(ctx context.Context) net.Listener {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		panic(err) // there is a free port
	}
	return l
}

// writeCertificate writes a self-signed certificate, which is valid for an hour, and its key to
// files in dir, and returns the paths of the files.
func writeCertificate(dir string) (files certs.Files, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return files, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "h2spec"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return files, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return files, err
	}
	files = certs.Files{CertFile: filepath.Join(dir, "tls.crt"), KeyFile: filepath.Join(dir, "tls.key")}
	return files, errors.Join(
		os.WriteFile(files.CertFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(files.KeyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600),
	)
}
