package feed_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/chassi-go/chassi"
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

// A client that loses its connection a thousand times, and continues after the last whole event,
// gets each item once.
func TestResume(t *testing.T) {
	t.Parallel()
	type request struct {
		After string `header:"Last-Event-ID"`
	}
	f := newFeed(1 << 20)
	server, err := httpapi.New(httpapi.Config{Addr: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	watch := func(ctx context.Context, r *request) (iter.Seq2[*item, error], error) { return f.From(ctx, r.After) }
	if err := server.Mount(chassi.NewService("feed.v1.Feed", chassi.NewStream("Watch", watch, chassi.Route("GET /v1/watch"), chassi.Public))); err != nil {
		t.Fatal(err)
	}
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	publishing := make(chan struct{})
	go func() {
		defer close(publishing)
		for n := 1; ; n++ {
			f.Publish(&item{Number: n})
			if n%200 > 0 {
				continue
			}
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	t.Cleanup(func() {
		close(stop)
		<-publishing
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := server.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	const clients, disconnects = 10, 100
	for n := range clients {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			t.Parallel()
			last, next := "", 0
			for range disconnects {
				last, next = readSome(t, "http://"+server.Addr().String()+"/v1/watch", last, next, rand.IntN(2000))
			}
			if next < disconnects {
				t.Errorf("%d items over %d connections", next, disconnects)
			}
		})
	}
}

// readSome continues the stream after the event with the id last, and disconnects after about that
// many bytes, usually within an event. It returns the id of the last whole event and the number
// that must follow, 0 for any.
func readSome(t *testing.T, url, last string, next, bytes int) (string, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	if last != "" {
		r.Header.Set("Last-Event-ID", last)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("after %q: status %d", last, resp.StatusCode)
	}
	body := bufio.NewReaderSize(resp.Body, 64)
	id, number := "", 0
	for read := 0; read < bytes; {
		line, err := body.ReadString('\n')
		if err != nil {
			t.Fatalf("the stream ended: %v", err)
		}
		read += len(line)
		switch {
		case strings.HasPrefix(line, "id: "):
			id = strings.TrimSpace(line[4:])
		case strings.HasPrefix(line, "data: "):
			_, digits, _ := strings.Cut(line, `"number":`)
			if _, err := fmt.Sscanf(digits, "%d", &number); err != nil {
				t.Fatal(err)
			}
		case line == "\n":
			if next != 0 && number != next {
				t.Fatalf("item %d came, want %d", number, next)
			}
			last, next = id, number+1
		}
	}
	return last, next
}
