package feed_test

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/browsertest"
	"github.com/chassi-go/chassi/internal/proxytest"
)

// eventPage shows what an EventSource receives.
const eventPage = `<!doctype html><title>Events</title><p id="state"></p><script>
const got = [], errors = [];
const source = new EventSource("/v1/watch");
source.onmessage = (e) => got.push(JSON.parse(e.data).number);
source.addEventListener("error", (e) => { if (e.data) errors.push(JSON.parse(e.data).error); });
source.addEventListener("end", () => { source.close(); state.textContent = "ended"; });
const empty = new EventSource("/v1/watch?empty=true");
</script>`

// Chromium's EventSource continues after the last event when its connection was lost, and when
// the server asks it to come back. It stops on the event "end", and when there is nothing to send.
func TestEventSource(t *testing.T) {
	t.Parallel()
	browser := browsertest.Start(t)
	type request struct {
		After string `header:"Last-Event-ID"`
		Empty bool   `query:"empty"`
	}
	f := newFeed(100)
	var mu sync.Mutex
	var after []string
	opened := make(chan struct{}, 10)
	errReturn := chassi.NewError(chassi.Unavailable, "return", "Come back").WithRetryAfter(100 * time.Millisecond)
	watch := func(ctx context.Context, r *request) (iter.Seq2[*item, error], error) {
		if r.Empty {
			return nil, nil
		}
		mu.Lock()
		after = append(after, r.After)
		connection := len(after)
		mu.Unlock()
		all, err := f.From(ctx, r.After)
		if err != nil {
			return nil, err
		}
		opened <- struct{}{}
		return func(yield func(*item, error) bool) {
			for i, err := range all {
				switch {
				case !yield(i, err):
					return
				case i.Number == 6 && connection == 2:
					yield(nil, errReturn)
					return
				case i.Number == 9:
					return
				}
			}
		}, nil
	}
	server := serve(t, chassi.NewService("feed.v1.Feed", chassi.NewStream("Watch", watch, chassi.Route("GET /v1/watch"), chassi.Public)),
		http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'unsafe-inline'; connect-src 'self'")
			_, _ = w.Write([]byte(eventPage))
		}))
	proxy := proxytest.New(t, server.Addr().String())
	proxy.Open()
	page := browser.Page(t, 800, "light")
	page.Open("http://" + proxy.Addr + "/page/")
	<-opened
	for n := range 3 {
		f.Publish(&item{Number: n + 1})
	}
	page.Wait(`got.length === 3`)
	proxy.Cut()
	for n := range 6 {
		f.Publish(&item{Number: n + 4})
	}
	proxy.Open()
	page.Wait(`state.textContent === "ended"`)
	page.Wait(`empty.readyState === EventSource.CLOSED`)
	if got := fmt.Sprint(page.Eval(`got`), page.Eval(`errors`), page.Eval(`source.readyState === EventSource.CLOSED`)); got != "[1 2 3 4 5 6 7 8 9] [return] true" {
		t.Errorf("got %s", got)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(after) != 3 || after[0] != "" || slices.Contains(after[1:], "") || after[1] == after[2] {
		t.Errorf("opened after %q", after)
	}
}
