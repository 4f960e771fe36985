package grpcapi_test

import (
	"context"
	"strings"
	"testing"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/transport/grpcapi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionalphapb "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
)

type (
	// Orders is a message that is called as its service.
	Orders struct {
		Second string `json:"2nd"`
		Große  string `json:"größe"`
	}
	uncarried struct {
		Callback struct{ Done chan int } `json:"callback"`
	}
)

func noop[Req, Res any](context.Context, *Req) (*Res, error) { return new(Res), nil }

// A message called as its service, names that begin with a digit or are not ASCII, and
// services whose names have no package are served, and described to both versions of
// reflection.
func TestNamesThatProtocolBuffersDoNotHave(t *testing.T) {
	t.Parallel()
	s := grpcapi.New(grpcapi.Config{Addr: "127.0.0.1:0"})
	for _, name := range []string{"shop.v1.Orders", "Users", "Invoices"} {
		if err := s.Mount(chassi.NewService(name, chassi.NewEndpoint("Get", noop[Orders, Orders], chassi.Public))); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Stop(context.Background()) })
	conn, err := grpc.NewClient(s.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	current, err := reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
	if err != nil {
		t.Fatal(err)
	}
	older, err := reflectionalphapb.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, symbol := range []string{"shop.v1.Orders.Get", "users.Users", "invoices.Invoices"} {
		if err := current.Send(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: symbol}}); err != nil {
			t.Fatal(err)
		}
		if err := older.Send(&reflectionalphapb.ServerReflectionRequest{MessageRequest: &reflectionalphapb.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: symbol}}); err != nil {
			t.Fatal(err)
		}
		v1, err := current.Recv()
		if err != nil || len(v1.GetFileDescriptorResponse().GetFileDescriptorProto()) == 0 {
			t.Errorf("%s: v1: %v, %v", symbol, v1, err)
		}
		v1alpha, err := older.Recv()
		if err != nil || len(v1alpha.GetFileDescriptorResponse().GetFileDescriptorProto()) == 0 {
			t.Errorf("%s: v1alpha: %v, %v", symbol, v1alpha, err)
		}
	}
}

// What cannot be carried is refused when it is mounted, with endpoint and field named, and
// nothing of its service is served.
func TestMountRejectsUnencodableTypes(t *testing.T) {
	t.Parallel()
	s := grpcapi.New(grpcapi.Config{Addr: "127.0.0.1:0"})
	err := s.Mount(chassi.NewService("shop.v1.Shop",
		chassi.NewEndpoint("Fine", noop[struct{}, struct{}], chassi.Public), chassi.NewEndpoint("Wait", noop[uncarried, struct{}], chassi.Public)))
	if err == nil || !strings.Contains(err.Error(), "shop.v1.Shop/Wait") || !strings.Contains(err.Error(), "field Callback: field Done: chan int") {
		t.Fatalf("mounted: %v", err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Stop(context.Background()) })
	conn, err := grpc.NewClient(s.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.Invoke(t.Context(), "/shop.v1.Shop/Fine", &reflectionpb.ErrorResponse{}, &reflectionpb.ErrorResponse{}); err == nil {
		t.Error("an endpoint of a refused service is served")
	}
}

// Two types that no name can distinguish, because both are declared within functions of one
// package, are refused when they are mounted, too.
func TestMountRefusesTypesOfOneName(t *testing.T) {
	t.Parallel()
	type Twin struct{ A int }
	err := grpcapi.New(grpcapi.Config{Addr: "127.0.0.1:0"}).Mount(chassi.NewService("shop.v1.Shop",
		chassi.NewEndpoint("First", noop[Twin, struct{}], chassi.Public), otherTwin()))
	if err == nil || !strings.Contains(err.Error(), "Twin (shop.v1.Shop/Second)") || !strings.Contains(err.Error(), "have the same name Twin; rename all but one") {
		t.Errorf("mounted: %v", err)
	}
}

func otherTwin() *chassi.Endpoint {
	type Twin struct{ B string }
	return chassi.NewEndpoint("Second", noop[Twin, struct{}], chassi.Public)
}
