package grpcapi_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/internal/certtest"
	"github.com/chassi-go/chassi/transport/certs"
	"github.com/chassi-go/chassi/transport/grpcapi"
	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/encoding/gzip"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

type (
	greetRequest struct {
		Name string `json:"name"`
	}
	greeting struct {
		Text string    `json:"text"`
		At   time.Time `json:"at"`
	}
)

func greeter() *chassi.Service {
	return chassi.NewService("greet.v1.Greeter", chassi.NewEndpoint("Greet", func(_ context.Context, r *greetRequest) (*greeting, error) {
		return &greeting{Text: "Hello, " + r.Name, At: time.Unix(1, 0)}, nil
	}, chassi.Public, chassi.Doc("Greet greets.")))
}

// serve starts a server and stops it with the test.
func serve(t testing.TB, c grpcapi.Config, middleware ...chassi.Middleware) *grpcapi.Server {
	t.Helper()
	s := start(t, c, middleware, greeter())
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return s
}

// A client with nothing but the address lists, describes and calls methods, as grpcurl does. The
// zero Config serves reflection, which is the default of the setting.
func TestReflectionIsEnoughToCall(t *testing.T) {
	t.Parallel()
	s := serve(t, grpcapi.Config{})
	conn := dial(t, s)
	stream, err := reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ask := func(r *reflectionpb.ServerReflectionRequest) *reflectionpb.ServerReflectionResponse {
		t.Helper()
		if err := stream.Send(r); err != nil {
			t.Fatal(err)
		}
		response, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		return response
	}
	var names []string
	for _, service := range ask(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}}).GetListServicesResponse().GetService() {
		names = append(names, service.GetName())
	}
	if strings.Join(names, " ") != "greet.v1.Greeter grpc.health.v1.Health grpc.reflection.v1.ServerReflection grpc.reflection.v1alpha.ServerReflection" {
		t.Errorf("services %s", names)
	}
	var set descriptorpb.FileDescriptorSet
	for _, b := range ask(&reflectionpb.ServerReflectionRequest{
		MessageRequest: &reflectionpb.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: "greet.v1.Greeter"},
	}).GetFileDescriptorResponse().GetFileDescriptorProto() {
		file := new(descriptorpb.FileDescriptorProto)
		if err := proto.Unmarshal(b, file); err != nil {
			t.Fatal(err)
		}
		if file.GetPackage() == "greet.v1" {
			set.File = append(set.File, file)
		}
	}
	file, err := protodesc.NewFile(set.GetFile()[0], protoregistry.GlobalFiles)
	if err != nil {
		t.Fatal(err)
	}
	if comment := file.SourceLocations().ByDescriptor(file.Services().Get(0).Methods().Get(0)).LeadingComments; comment != " Greet greets.\n" {
		t.Errorf("comment %q", comment)
	}
	request, response := message(file, "GreetRequest"), message(file, "Greeting")
	if err := protojson.Unmarshal([]byte(`{"name":"visitor"}`), request); err != nil {
		t.Fatal(err)
	}
	if err := conn.Invoke(t.Context(), "/greet.v1.Greeter/Greet", request, response); err != nil {
		t.Fatal(err)
	}
	if text, _ := protojson.Marshal(response); strings.ReplaceAll(string(text), " ", "") != `{"text":"Hello,visitor","at":"1970-01-01T00:00:01Z"}` {
		t.Errorf("%s", text)
	}
	if err := stream.CloseSend(); err != nil {
		t.Error(err)
	}
}

func message(file protoreflect.FileDescriptor, name string) *dynamicpb.Message {
	return dynamicpb.NewMessage(file.Messages().ByName(protoreflect.Name(name)))
}

func TestReflectionIsOptional(t *testing.T) {
	t.Parallel()
	conn := dial(t, serve(t, grpcapi.Config{Reflection: new(false)}))
	stream, err := reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
	if err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.Unimplemented {
		t.Error(err)
	}
}

// The health service follows readiness, and says no as soon as the drain begins.
func TestHealthFollowsReadiness(t *testing.T) {
	t.Parallel()
	var ready atomic.Bool
	s := serve(t, grpcapi.Config{Ready: func(context.Context) bool { return ready.Load() }})
	h := healthpb.NewHealthClient(dial(t, s))
	check := func(service string) string {
		response, err := h.Check(t.Context(), &healthpb.HealthCheckRequest{Service: service})
		if err != nil {
			return status.Code(err).String()
		}
		return response.GetStatus().String()
	}
	if got := check(""); got != "NOT_SERVING" {
		t.Error(got)
	}
	if got := check("other.v1.Other"); got != "NotFound" {
		t.Error(got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	watch, err := h.Watch(ctx, &healthpb.HealthCheckRequest{Service: "greet.v1.Greeter"})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"NOT_SERVING", "SERVING", "NOT_SERVING"} {
		response, err := watch.Recv()
		if err != nil || response.GetStatus().String() != want {
			t.Fatalf("%d: %v, %v, want %s", i, response, err, want)
		}
		ready.Store(true)
		if want == "SERVING" {
			if got := check("greet.v1.Greeter"); got != "SERVING" {
				t.Error(got)
			}
			s.Drain()
		}
	}
	if got := check(""); got != "NOT_SERVING" {
		t.Error(got)
	}
}

func TestGzip(t *testing.T) {
	t.Parallel()
	s := serve(t, grpcapi.Config{MaxMessageBytes: 4096})
	conn := dial(t, s)
	request := new(bytesMessage)
	*request = append([]byte("\x0a\xd0\x0f"), strings.Repeat("a", 2000)...)
	response := new(bytesMessage)
	if err := conn.Invoke(t.Context(), "/greet.v1.Greeter/Greet", request, response, grpc.ForceCodec(rawCodec{}), grpc.UseCompressor(gzip.Name)); err != nil || len(*response) < 2000 {
		t.Errorf("%d bytes, %v", len(*response), err)
	}
	// A bomb: a megabyte that fits in a few bytes.
	*request = append([]byte("\x0a\x80\x80\x40"), strings.Repeat("a", 1<<20)...)
	err := conn.Invoke(t.Context(), "/greet.v1.Greeter/Greet", request, response, grpc.ForceCodec(rawCodec{}), grpc.UseCompressor(gzip.Name))
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("%v", err)
	}
}

// What stands beside a message is bounded, and connections are.
func TestLimits(t *testing.T) {
	t.Parallel()
	s := serve(t, grpcapi.Config{MaxHeaderBytes: 2048, MaxConnections: 1})
	conn := dial(t, s)
	ctx := metadata.AppendToOutgoingContext(t.Context(), "x-long", strings.Repeat("a", 4096))
	if _, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{}); err == nil {
		t.Error("metadata of 4096 bytes were taken")
	}
	if _, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, err := healthpb.NewHealthClient(dial(t, s)).Check(t.Context(), &healthpb.HealthCheckRequest{}); status.Code(err) != codes.Unavailable {
		t.Errorf("a connection too many: %v", err)
	}
	if open, refused := s.Connections(); open != 1 || refused < 1 {
		t.Errorf("%d open, %d refused", open, refused)
	}
}

// Behind a proxy each client has an address of its own, as over HTTP; only a trusted
// proxy can say which.
func TestTrustedProxiesTellTheClient(t *testing.T) {
	t.Parallel()
	loopback := netip.MustParsePrefix("127.0.0.0/8")
	for name, c := range map[string]struct {
		trusted []netip.Prefix
		which   string
		md      []string
		want    string
	}{
		"nobody is trusted":  {nil, "", []string{"x-forwarded-for", "1.2.3.4"}, "127.0.0.1"},
		"another is trusted": {[]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, "", []string{"x-forwarded-for", "1.2.3.4"}, "127.0.0.1"},
		"no header":          {[]netip.Prefix{loopback}, "", nil, "127.0.0.1"},
		"one hop":            {[]netip.Prefix{loopback}, "", []string{"x-forwarded-for", "6.6.6.6, 1.2.3.4"}, "1.2.3.4"},
		"two lines":          {[]netip.Prefix{loopback}, "", []string{"x-forwarded-for", "6.6.6.6", "x-forwarded-for", "2001:db8::1, 127.0.0.9"}, "2001:db8::1"},
		"other header":       {[]netip.Prefix{loopback}, "forwarded", []string{"x-forwarded-for", "6.6.6.6", "forwarded", "for=1.2.3.4"}, "1.2.3.4"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got netip.AddrPort
			note := func(_ *chassi.Binding, next chassi.Handler) chassi.Handler {
				return func(ctx context.Context, call *chassi.Call) error {
					got = call.Peer
					return next(ctx, call)
				}
			}
			conn := dial(t, serve(t, grpcapi.Config{TrustedProxies: c.trusted, ForwardedHeader: c.which}, note))
			ctx := metadata.AppendToOutgoingContext(t.Context(), c.md...)
			if err := conn.Invoke(ctx, "/greet.v1.Greeter/Greet", new(bytesMessage), new(bytesMessage), grpc.ForceCodec(rawCodec{})); err != nil {
				t.Fatal(err)
			}
			if got.Addr().String() != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

// A method's metadata arrive, and where one cannot be sent the call has failed.
func TestResponseMetadata(t *testing.T) {
	t.Parallel()
	set := func(_ *chassi.Binding, next chassi.Handler) chassi.Handler {
		return func(ctx context.Context, call *chassi.Call) error {
			if call.In.Get("x-break") != "" {
				call.Out.Set("X-Bad", "a\r\nb: c")
			}
			call.Out.Set("X-Good", "good")
			call.In.Set("X-Later", "later")
			if call.In.Get("x-later") != "later" || !call.Peer.IsValid() {
				t.Errorf("in %q, peer %v", call.In.Get("x-later"), call.Peer)
			}
			return next(ctx, call)
		}
	}
	conn := dial(t, serve(t, grpcapi.Config{}, set))
	var header metadata.MD
	if err := conn.Invoke(t.Context(), "/greet.v1.Greeter/Greet", new(bytesMessage), new(bytesMessage), grpc.ForceCodec(rawCodec{}), grpc.Header(&header)); err != nil {
		t.Fatal(err)
	}
	if strings.Join(header["x-good"], "") != "good" || header["x-bad"] != nil || len(header["x-request-id"]) != 1 {
		t.Errorf("%v", header)
	}
	ctx := metadata.AppendToOutgoingContext(t.Context(), "x-break", "yes")
	err := conn.Invoke(ctx, "/greet.v1.Greeter/Greet", new(bytesMessage), new(bytesMessage), grpc.ForceCodec(rawCodec{}), grpc.Header(&header))
	if status.Code(err) != codes.Internal || header["x-bad"] != nil {
		t.Errorf("%v, %v", err, header)
	}
}

// A panic outside of every Recover is contained at the last moment.
func TestLastResort(t *testing.T) {
	t.Parallel()
	boom := func(*chassi.Binding, chassi.Handler) chassi.Handler {
		return func(context.Context, *chassi.Call) error { panic("a canary") }
	}
	conn := dial(t, serve(t, grpcapi.Config{}, boom))
	for _, path := range []string{"/greet.v1.Greeter/Greet", "/no.v1.Such/Method", "/x"} {
		err := conn.Invoke(t.Context(), path, new(bytesMessage), new(bytesMessage), grpc.ForceCodec(rawCodec{}))
		if c := status.Code(err); c != codes.Internal && path != "/x" || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestStartAndMountRefuse(t *testing.T) {
	t.Parallel()
	method := func(context.Context, *struct{ A any }) (*struct{}, error) { return nil, nil }
	err := grpcapi.New(grpcapi.Config{}).Mount(chassi.NewService("a.v1.A", chassi.NewEndpoint("B", method)))
	if err == nil || !strings.Contains(err.Error(), "a.v1.A/B") || !strings.Contains(err.Error(), "field A") {
		t.Errorf("%v", err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	if err := grpcapi.New(grpcapi.Config{Addr: taken.Addr().String()}).Start(t.Context()); err == nil || !strings.Contains(err.Error(), taken.Addr().String()) {
		t.Errorf("%v", err)
	}
	if err := grpcapi.New(grpcapi.Config{Addr: "127.0.0.1:0", TLS: certs.Files{CertFile: "/none", KeyFile: "/none"}}).Start(t.Context()); err == nil {
		t.Error("a certificate that is not there")
	}
	if _, err := grpcapi.Dial(grpcapi.ClientConfig{Target: "\x00"}); err == nil {
		t.Error("an invalid target is accepted")
	}
}

// With client_ca_file only clients with a certificate of that CA can connect.
func TestMutualTLS(t *testing.T) {
	t.Parallel()
	tomorrow := time.Now().Add(24 * time.Hour)
	ca := certtest.Issue(t, "ca", nil, tomorrow)
	server, clientPair := certtest.Issue(t, "server", &ca, tomorrow), certtest.Issue(t, "client", &ca, tomorrow)
	files := certs.Files{}
	files.CertFile, files.KeyFile = install(t, server)
	files.ClientCAFile, _ = install(t, ca)
	var shown atomic.Pointer[x509.Certificate]
	s := serve(t, grpcapi.Config{TLS: files}, func(_ *chassi.Binding, next chassi.Handler) chassi.Handler {
		return func(ctx context.Context, call *chassi.Call) error {
			shown.Store(call.PeerCertificate)
			return next(ctx, call)
		}
	})
	roots := ca.Pool()
	for name, c := range map[string]struct {
		config *tls.Config
		ok     bool
	}{
		"mutual":         {&tls.Config{RootCAs: roots, Certificates: []tls.Certificate{clientPair.Pair}}, true},
		"no certificate": {&tls.Config{RootCAs: roots}, false},
		"unknown server": {&tls.Config{RootCAs: x509.NewCertPool(), Certificates: []tls.Certificate{clientPair.Pair}}, false},
		"plain":          {nil, false},
	} {
		caller, err := grpcapi.Dial(grpcapi.ClientConfig{Target: s.Addr().String(), TLS: c.config, Timeout: 5 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		defer caller.Close()
		remote, err := client.New(greeter(), caller)
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.Invoke[greeting](t.Context(), remote, "Greet", &greetRequest{Name: "x"})
		if (err == nil) != c.ok || err != nil && chassi.ErrorOf(err).Code != chassi.Unavailable {
			t.Errorf("%s: %v", name, err)
		}
	}
	if c := shown.Load(); c == nil || c.Subject.CommonName != "client" {
		t.Errorf("the call had the certificate %+v", c)
	}
	conn, err := grpc.NewClient(s.Addr().String(), grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: roots, MaxVersion: tls.VersionTLS11})))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{}); err == nil {
		t.Error("TLS 1.1 was spoken")
	}
}

// install writes the files of a certificate.
func install(t *testing.T, i certtest.Issued) (certFile, keyFile string) {
	t.Helper()
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	for file, content := range map[string][]byte{certFile: i.Cert, keyFile: i.Key} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

// Fault 25: a client that pings without end is sent away.
func TestFault25PingsAreBounded(t *testing.T) {
	t.Parallel()
	s := serve(t, grpcapi.Config{})
	conn, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte(http2.ClientPreface)); err != nil {
		t.Fatal(err)
	}
	framer := http2.NewFramer(conn, conn)
	if err := framer.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if err := framer.WritePing(false, [8]byte{byte(i)}); err != nil {
			break // sent away already
		}
	}
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			t.Fatalf("the connection ended without a word: %v", err)
		}
		if away, ok := frame.(*http2.GoAwayFrame); ok {
			if away.ErrCode != http2.ErrCodeEnhanceYourCalm {
				t.Errorf("sent away for %v", away.ErrCode)
			}
			return
		}
	}
}

// A server that was unavailable for long is found again soon: the pauses between attempts to
// connect do not grow to minutes. Those of grpc-go would take twelve seconds for these.
func TestConnectsAgainSoon(t *testing.T) {
	t.Parallel()
	away, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	attempts := make(chan struct{}, 100)
	accepting := make(chan struct{})
	go func() {
		defer close(accepting)
		for {
			conn, err := away.Accept()
			if err != nil {
				return
			}
			conn.Close()
			attempts <- struct{}{}
		}
	}()
	t.Cleanup(func() { away.Close(); <-accepting })
	caller, err := grpcapi.Dial(grpcapi.ClientConfig{Target: away.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { caller.Close() })
	c, err := client.New(greeter(), caller)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Invoke[greeting](t.Context(), c, "Greet", &greetRequest{}); chassi.ErrorOf(err).Code != chassi.Unavailable {
		t.Errorf("%v", err)
	}
	limit := time.After(9 * time.Second)
	for n := range 6 {
		select {
		case <-attempts:
		case <-limit:
			t.Fatalf("%d attempts to connect in 9 s, want 6", n)
		}
	}
}

// A server that is stopped before it has begun to serve has not failed: the App would log it
// as the reason of its end, where another server's start was.
func TestStopRightAfterStartIsNoFailure(t *testing.T) {
	t.Parallel()
	for range 100 {
		s := start(t, grpcapi.Config{}, nil)
		if err := s.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := <-s.Failed(); err != nil {
			t.Fatal(err)
		}
	}
}
