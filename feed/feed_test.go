package feed_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/feed"
	"github.com/chassi-go/chassi/transport/httpapi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type item struct {
	ID     string `json:"id" stream:"id"`
	Number int    `json:"number"`
}

func newFeed(size int) *feed.Feed[item] {
	return feed.New(size, func(i *item, id string) { i.ID = id })
}

func ExampleFeed() {
	f := feed.New(100, func(i *item, id string) { i.ID = id })
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	items, _ := f.From(ctx, "")
	f.Publish(&item{Number: 1})
	f.Publish(&item{Number: 2})
	for i := range items {
		if fmt.Println(i.Number); i.Number == 2 {
			break
		}
	}
	// Output:
	// 1
	// 2
}

func TestPositions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFeed(3)
		published := make([]*item, 5)
		for n := range published {
			published[n] = &item{Number: n}
			f.Publish(published[n])
		}
		for n, want := range map[int]error{0: feed.ErrPositionLost, 1: nil, 4: nil} {
			if _, err := f.From(t.Context(), published[n].ID); !errors.Is(err, want) {
				t.Errorf("after item %d: %v, want %v", n, err, want)
			}
		}
		for _, foreign := range []string{"x", "-", published[4].ID + "0", "other-4", strings.Replace(published[4].ID, "-5", "-99999999999999999999", 1)} {
			if _, err := f.From(t.Context(), foreign); !errors.Is(err, feed.ErrPositionLost) {
				t.Errorf("after %q: %v", foreign, err)
			}
		}
		items, err := f.From(t.Context(), published[1].ID)
		if err != nil {
			t.Fatal(err)
		}
		next := 2
		for i, err := range items {
			if err != nil || i.Number != next {
				t.Fatalf("%+v, %v, want %d", i, err, next)
			}
			if next++; next == 6 {
				break
			}
			if next == 5 {
				go f.Publish(&item{Number: 5})
			}
		}
	})
}

func TestSlowReaders(t *testing.T) {
	t.Parallel()
	f := newFeed(3)
	items, err := f.From(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	f.Publish(&item{})
	for i, err := range items {
		if err != nil {
			if e := chassi.ErrorOf(err); !errors.Is(err, feed.ErrTooSlow) || e.RetryAfter == 0 || i != nil {
				t.Errorf("%+v, %v", i, err)
			}
			break
		}
		for range 4 {
			f.Publish(&item{})
		}
	}
}

// serve serves the service, and page at /page/ unless it is nil, until the end of the test.
func serve(t *testing.T, service *chassi.Service, page http.Handler) *httpapi.Server {
	t.Helper()
	server, err := httpapi.New(httpapi.Config{Addr: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler)})
	if err == nil {
		err = server.Mount(service)
	}
	if err == nil && page != nil {
		err = server.Handle("GET /page/", page, chassi.Public)
	}
	if err == nil {
		err = server.Start(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := server.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return server
}

type watchRequest struct {
	After string `header:"Last-Event-ID"`
}

func watcher(f *feed.Feed[item]) *chassi.Service {
	watch := func(ctx context.Context, r *watchRequest) (iter.Seq2[*item, error], error) {
		return f.From(ctx, r.After)
	}
	return chassi.NewService("feed.v1.Feed", chassi.NewStream("Watch", watch, chassi.Route("GET /v1/watch"), chassi.Public))
}

// Clients whose TCP connections are cut a thousand times after a random number of bytes, and that
// continue after the last item that they have, get each item once.
func TestResume(t *testing.T) {
	t.Parallel()
	f := newFeed(1 << 20)
	server := serve(t, watcher(f), nil)
	stop := make(chan struct{})
	publishing := make(chan struct{})
	go func() {
		defer close(publishing)
		for n := 1; ; n++ {
			f.Publish(&item{Number: n})
			if n%20 > 0 {
				continue
			}
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	t.Cleanup(func() { close(stop); <-publishing })
	const clients, disconnects = 10, 100
	for n := range clients {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			t.Parallel()
			caller, err := httpapi.NewClient(httpapi.ClientConfig{URL: "http://" + cutAtRandom(t, server.Addr().String()), EventStreams: n%2 == 0})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(caller.Close)
			c, err := client.New(watcher(f), caller)
			if err != nil {
				t.Fatal(err)
			}
			last, next := "", 0
			for range disconnects {
				last, next = readSome(t, c, last, next)
			}
			if next < disconnects {
				t.Errorf("%d items over %d connections", next, disconnects)
			}
		})
	}
}

// readSome continues the stream after the item with the ID last until its connection is cut. It
// returns the ID of the last item and the number that must follow, 0 for any.
func readSome(t *testing.T, c *client.Client, last string, next int) (string, int) {
	t.Helper()
	items, err := client.Stream[item](t.Context(), c, "Watch", &watchRequest{After: last})
	if err == nil {
		for i, broken := range items {
			if err = broken; err != nil {
				break
			}
			if next != 0 && i.Number != next {
				t.Fatalf("item %d came, want %d", i.Number, next)
			}
			last, next = i.ID, i.Number+1
		}
	}
	if chassi.ErrorOf(err) == nil || chassi.ErrorOf(err).Code != chassi.Unavailable {
		t.Fatalf("a stream that was cut ended with %v", err)
	}
	return last, next
}

// cutAtRandom returns the address of a proxy of server that ends each connection, in one of two
// ways, after a random number of bytes of the response.
func cutAtRandom(t *testing.T, server string) (addr string) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := new(net.Dialer).DialContext(context.Background(), "tcp", server)
			if err != nil {
				t.Error(err)
				in.Close()
				return
			}
			running.Go(func() { _, _ = io.Copy(out, in) })
			running.Go(func() {
				_, _ = io.CopyN(in, out, rand.N[int64](2000))
				if rand.N(2) == 0 {
					_ = in.(*net.TCPConn).SetLinger(0) // a reset
				}
				in.Close()
				out.Close()
			})
		}
	})
	t.Cleanup(func() { l.Close(); running.Wait() })
	return l.Addr().String()
}
