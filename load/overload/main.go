// Command overload measures a service at up to three times its capacity. It serves one endpoint
// over HTTP with the middleware of package standard. The endpoint processes eight calls
// concurrently and takes 10 ms for each. The command calls the endpoint at fixed rates: at half its
// capacity, at its capacity, at three times its capacity, and then twice at 0.9 of its capacity.
//
//	go run ./load/overload --seconds 60
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/config"
	"github.com/chassi-go/chassi/load/openloop"
	"github.com/chassi-go/chassi/standard"
	"github.com/chassi-go/chassi/transport/httpapi"
)

const (
	places   = 8
	takes    = 10 * time.Millisecond
	capacity = places * int(time.Second/takes)
)

func main() {
	seconds := flag.Int("seconds", 60, "of each of the two long phases")
	flag.Parse()
	if err := run(context.Background(), os.Stdout, time.Duration(*seconds)*time.Second); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

type (
	workRequest  struct{}
	workResponse struct {
		Done bool `json:"done"`
	}
)

// worker is a semaphore that limits the number of concurrent calls.
type worker chan struct{}

func (w worker) work(ctx context.Context, _ *workRequest) (*workResponse, error) {
	select {
	case w <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-w }()
	time.Sleep(takes)
	return &workResponse{true}, nil
}

func run(ctx context.Context, out io.Writer, long time.Duration) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var c standard.Config
	if _, err := config.Load(&c, config.Options{Name: "overload", Args: []string{
		"--http.addr=127.0.0.1:0", "--admin.addr=127.0.0.1:0",
		"--rate_limit.peer=off", "--http.max_connections_per_client=10000", "--overload.max_in_flight_per_client=10000",
		"--log.level=warn", "--shutdown.drain=0s",
	}}); err != nil {
		return err //nolint:wrapcheck // says where
	}
	std, err := standard.New(ctx, "overload", "", c, standard.Options{Log: io.Discard})
	if err != nil {
		return err //nolint:wrapcheck // says where
	}
	service := chassi.NewService("load.v1.Work", chassi.NewEndpoint("Work", make(worker, places).work, chassi.Route("POST /work"), chassi.Public))
	std.Mount(service)
	ended := make(chan error, 1)
	go func() { ended <- std.Run(ctx) }()
	select {
	case <-std.Started():
	case err := <-ended:
		return err
	}
	err = phases(ctx, out, "http://"+std.HTTP.Addr().String(), service, long)
	cancel()
	return errors.Join(err, <-ended)
}

func phases(ctx context.Context, out io.Writer, url string, service *chassi.Service, long time.Duration) error {
	remote, err := httpapi.NewClient(httpapi.ClientConfig{URL: url, MaxIdle: 2048, MaxConnections: 2048})
	if err != nil {
		return err //nolint:wrapcheck // says where
	}
	defer remote.Close()
	calls, err := client.New(service, remote)
	if err != nil {
		return err //nolint:wrapcheck // says where
	}
	phase := func(name string, rate int, d time.Duration) (*openloop.Result, error) {
		r, err := openloop.Run(ctx, openloop.Config{
			Name: name, Rate: float64(rate), Duration: d, Poisson: true, Seed: 1, Workers: 1024, Timeout: 10 * time.Second,
			Refused: func(err error) bool { return chassi.ErrorOf(err).Code == chassi.Unavailable },
		}, func(ctx context.Context, _ int) error {
			_, err := client.Invoke[workResponse](ctx, calls, "Work", &workRequest{})
			return err
		})
		if err != nil {
			return nil, err //nolint:wrapcheck // says where
		}
		fmt.Fprintf(out, "%-24s %5d/s due  %5.0f/s accepted  %5.1f %% refused  %d failed  accepted: p50 %6.1f ms, p99 %6.1f ms  refused: p50 %5.1f ms, p99 %5.1f ms\n",
			name, rate, r.Achieved, 100*float64(r.Refused)/float64(max(r.Sent, 1)), r.Failed+r.Dropped,
			ms(r.Accepted.P50), ms(r.Accepted.P99), ms(r.RefusedIn.P50), ms(r.RefusedIn.P99))
		return r, nil
	}
	if _, err := phase("half of the capacity", capacity/2, 5*time.Second); err != nil {
		return err
	}
	at, err := phase("the capacity", capacity, long)
	if err != nil {
		return err
	}
	above, err := phase("three times that", 3*capacity, long)
	if err != nil {
		return err
	}
	if _, err := phase("0.9, at once after that", capacity*9/10, 2*time.Second); err != nil {
		return err
	}
	if _, err := phase("0.9, two seconds later", capacity*9/10, 5*time.Second); err != nil {
		return err
	}
	fmt.Fprintf(out, "goodput at three times the capacity: %.0f %% of the capacity of %d/s; p99 of what is accepted: %.1f times that at the capacity\n",
		100*above.Achieved/float64(capacity), capacity, ms(above.Accepted.P99)/ms(at.Accepted.P99))
	return nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
