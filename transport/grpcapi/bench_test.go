package grpcapi_test

import (
	"context"
	"fmt"
	"net"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/auth"
	"github.com/chassi-go/chassi/internal/calltest"
	"github.com/chassi-go/chassi/internal/thirdparty/authv1"
	"github.com/chassi-go/chassi/schema/protobuf"
	"github.com/chassi-go/chassi/transport/grpcapi"
)

const email = "ada@example.org"

var token = strings.Repeat("abcdefgh", 40)

// plain is the bare library: a server of generated messages.
type plain struct {
	authv1.UnimplementedAuthServer
}

func (plain) ValidateToken(_ context.Context, r *authv1.ValidateTokenRequest) (*authv1.ValidateTokenResponse, error) {
	if r.GetToken() == "" {
		return nil, errNoToken
	}
	return &authv1.ValidateTokenResponse{Email: email}, nil
}

var errNoToken = chassi.NewError(chassi.InvalidArgument, "no_token", "No token")

func validate(_ context.Context, r *auth.ValidateTokenRequest) (*auth.ValidateTokenResponse, error) {
	if r.Token == "" {
		return nil, errNoToken
	}
	return &auth.ValidateTokenResponse{Email: email}, nil
}

// BenchmarkServer holds the server against grpc-go's with generated messages, with
// the same generated client.
func BenchmarkServer(b *testing.B) {
	defer runtime.KeepAlive(make([]byte, 32<<20)) // the heap floor of an App, for all of them
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	generated := grpc.NewServer()
	authv1.RegisterAuthServer(generated, plain{})
	go generated.Serve(l)
	defer generated.Stop()
	ours := start(b, grpcapi.Config{}, nil, chassi.NewService(auth.ServiceName, chassi.NewEndpoint("ValidateToken", validate, chassi.Public)))
	defer ours.Stop(context.Background())
	everything := start(b, grpcapi.Config{}, calltest.Everything(b), chassi.NewService(auth.ServiceName, chassi.NewEndpoint("ValidateToken", validate, chassi.Public)))
	defer everything.Stop(context.Background())
	for _, callers := range []int{1, 32} {
		for name, addr := range map[string]string{"generated": l.Addr().String(), "chassi": ours.Addr().String(), "everything": everything.Addr().String()} {
			b.Run(fmt.Sprintf("%s/%d", name, callers), func(b *testing.B) { drive(b, addr, callers) })
		}
	}
}

func drive(b *testing.B, addr string, callers int) {
	b.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	c := authv1.NewAuthClient(conn)
	request := &authv1.ValidateTokenRequest{Token: token}
	if _, err := c.ValidateToken(b.Context(), request); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for caller := range callers {
		wg.Go(func() {
			for i := caller; i < b.N; i += callers {
				if _, err := c.ValidateToken(context.Background(), request); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// BenchmarkCodec holds the plan against generated code.
func BenchmarkCodec(b *testing.B) {
	type me = auth.MeResponse
	at := time.Unix(1, 5).UTC()
	ours, theirs := &me{ID: "0af7651916cd43dd", Email: email, CreatedAt: at}, new(authv1.MeResponse)
	p, err := protobuf.PlanOf(reflect.TypeFor[me]())
	if err != nil {
		b.Fatal(err)
	}
	data, err := p.Append(nil, ours)
	if err != nil {
		b.Fatal(err)
	}
	if err := proto.Unmarshal(data, theirs); err != nil {
		b.Fatal(err)
	}
	for name, f := range map[string]func() error{
		"marshal/generated":   func() error { _, err := proto.Marshal(theirs); return err },
		"marshal/chassi":      func() error { _, err := p.Append(make([]byte, 0, len(data)), ours); return err },
		"unmarshal/generated": func() error { return proto.Unmarshal(data, new(authv1.MeResponse)) },
		"unmarshal/chassi":    func() error { return p.Decode(data, new(me)) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := f(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
