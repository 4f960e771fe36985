package main

import (
	"context"
	"log/slog"
	"reflect"
	"testing"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/chassitest"
	"github.com/chassi-go/chassi/client"
	ordersv1 "github.com/chassi-go/chassi/examples/versions/orders/v1"
	ordersv2 "github.com/chassi-go/chassi/examples/versions/orders/v2"
	"github.com/chassi-go/chassi/internal/contracttest"
	"github.com/chassi-go/chassi/transport/grpcapi"
	"github.com/chassi-go/chassi/transport/httpapi"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreTopFunction("net/http.(*persistConn).writeLoop"))
}

func TestContracts(t *testing.T) {
	t.Parallel()
	contracttest.Write(t, "versions", services()...)
}

var (
	wantV1 = &ordersv1.Order{ID: "7", Item: "tea", Price: 350}
	wantV2 = &ordersv2.Order{
		ID: "7", Lines: []ordersv2.Line{{Item: "tea", Price: ordersv2.Money{Amount: 350, Currency: "EUR"}}}, Total: ordersv2.Money{Amount: 350, Currency: "EUR"},
	}
)

// Both versions are served side by side by one program.
func TestBothVersionsAreServed(t *testing.T) {
	t.Parallel()
	app, overHTTP, overGRPC, err := newApp("127.0.0.1:0", "127.0.0.1:0", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { result <- app.Run(ctx) }()
	select {
	case <-app.Started():
	case err := <-result:
		t.Fatal(err)
	}
	viaHTTP, err := httpapi.NewClient(httpapi.ClientConfig{URL: "http://" + overHTTP.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	viaGRPC, err := grpcapi.Dial(grpcapi.ClientConfig{Target: overGRPC.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	for _, caller := range []client.Caller{viaHTTP, viaGRPC} {
		getV1(t, caller)
		getV2(t, caller)
	}
	viaHTTP.Close()
	if err := viaGRPC.Close(); err != nil {
		t.Error(err)
	}
	stop()
	if err := <-result; err != nil {
		t.Error(err)
	}
}

// Each is served in process and over every transport, NATS included.
func TestEachVersionEverywhere(t *testing.T) {
	t.Parallel()
	chassitest.Everywhere(t, func() *chassi.Service { return services()[0] }, getV1)
	chassitest.Everywhere(t, func() *chassi.Service { return services()[1] }, getV2)
}

func getV1(t *testing.T, caller client.Caller) {
	t.Helper()
	c, err := client.New(services()[0], caller)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := client.Invoke[ordersv1.Order](t.Context(), c, "GetOrder", &ordersv1.GetOrderRequest{ID: "7"}); err != nil || !reflect.DeepEqual(got, wantV1) {
		t.Errorf("%T: %+v, %v", caller, got, err)
	}
}

func getV2(t *testing.T, caller client.Caller) {
	t.Helper()
	c, err := client.New(services()[1], caller)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := client.Invoke[ordersv2.Order](t.Context(), c, "GetOrder", &ordersv2.GetOrderRequest{ID: "7"}); err != nil || !reflect.DeepEqual(got, wantV2) {
		t.Errorf("%T: %+v, %v", caller, got, err)
	}
}
