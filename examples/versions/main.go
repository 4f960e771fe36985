// Command versions serves two versions of one service side by side, over HTTP, Connect and gRPC.
// Each version is a package with separate types. The older version calls the newer one.
//
//	go run ./examples/versions
//	curl http://127.0.0.1:8080/v1/orders/1
//	curl http://127.0.0.1:8080/v2/orders/1
package main

import (
	"context"
	"flag"
	"log/slog"
	"os"
	"time"

	"github.com/chassi-go/chassi"
	ordersv1 "github.com/chassi-go/chassi/examples/versions/orders/v1"
	ordersv2 "github.com/chassi-go/chassi/examples/versions/orders/v2"
	"github.com/chassi-go/chassi/middleware"
	"github.com/chassi-go/chassi/transport/connectapi"
	"github.com/chassi-go/chassi/transport/grpcapi"
	"github.com/chassi-go/chassi/transport/httpapi"
)

// orders implements the second version of the service.
type orders struct{}

func (orders) GetOrder(_ context.Context, r *ordersv2.GetOrderRequest) (*ordersv2.Order, error) {
	price := ordersv2.Money{Amount: 350, Currency: "EUR"}
	return &ordersv2.Order{ID: r.ID, Lines: []ordersv2.Line{{Item: "tea", Price: price}}, Total: price}, nil
}

// older implements the first version of the service by calling the second version.
type older struct{ ordersv2.Service }

func (o older) GetOrder(ctx context.Context, r *ordersv1.GetOrderRequest) (*ordersv1.Order, error) {
	order, err := o.Service.GetOrder(ctx, &ordersv2.GetOrderRequest{ID: r.ID})
	if err != nil {
		return nil, err
	}
	return &ordersv1.Order{ID: order.ID, Item: order.Lines[0].Item, Price: order.Total.Amount}, nil
}

func services() []*chassi.Service {
	return []*chassi.Service{ordersv1.Endpoints(older{orders{}}), ordersv2.Endpoints(orders{})}
}

func newApp(httpAddr, grpcAddr string, logger *slog.Logger) (*chassi.App, *httpapi.Server, *grpcapi.Server, error) {
	around := []chassi.Middleware{middleware.Logging(logger), middleware.Recover(), middleware.Timeout(time.Second), middleware.Validation()}
	overHTTP, err := httpapi.New(httpapi.Config{Addr: httpAddr, Logger: logger, Connect: true, ConnectCodec: connectapi.New()}, around...)
	if err != nil {
		return nil, nil, nil, err
	}
	overGRPC := grpcapi.New(grpcapi.Config{Addr: grpcAddr, Logger: logger}, around...)
	app := chassi.NewApp("versions", chassi.AppOptions{Logger: logger})
	app.AddServer(overHTTP, overGRPC)
	app.Mount(services()...)
	return app, overHTTP, overGRPC, nil
}

func main() {
	httpAddr := flag.String("http", "127.0.0.1:8080", "host:port of HTTP")
	grpcAddr := flag.String("grpc", "127.0.0.1:9090", "host:port of gRPC")
	flag.Parse()
	logger := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	app, _, _, err := newApp(*httpAddr, *grpcAddr, logger)
	if err == nil {
		err = app.Run(context.Background())
	}
	if err != nil {
		logger.Error("versions", "error", err.Error())
		os.Exit(1)
	}
}
