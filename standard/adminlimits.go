package standard

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/middleware"
)

// Limits of the admin listener: the maximum numbers of concurrent requests, and the maximum
// duration of a profile. Profiles stop or slow down the program, and gathering metrics reads all of
// its state.
const (
	profilesOfOneClient = 2
	profilesOfAll       = 4
	scrapesOfOneClient  = 2 // of the four that the metrics handler admits
	profileTime         = 2 * time.Minute
)

// limitAdmin returns a middleware that limits the concurrent expensive requests of the admin
// listener: requests for profiles per client and in total, and requests for metrics per client.
func limitAdmin() chassi.Middleware {
	profiles, scrapes := middleware.LimitConcurrency(profilesOfOneClient, nil), middleware.LimitConcurrency(scrapesOfOneClient, nil)
	all := limitAll(profilesOfAll)
	return func(b *chassi.Binding, next chassi.Handler) chassi.Handler {
		switch {
		case strings.HasPrefix(b.Route, "/debug/pprof/"):
			return profiles(b, all(b, next))
		case b.Route == "/metrics":
			return scrapes(b, next)
		default:
			return next
		}
	}
}

var errAdminBusy = chassi.NewError(chassi.ResourceExhausted, "too_many_profiles", "Too many profiles are being taken").WithRetryAfter(time.Second)

// limitAll returns a middleware that limits the number of concurrent calls of all clients together.
func limitAll(limit int64) chassi.Middleware {
	var underWay atomic.Int64
	return func(_ *chassi.Binding, next chassi.Handler) chassi.Handler {
		return func(ctx context.Context, call *chassi.Call) error {
			defer underWay.Add(-1)
			if underWay.Add(1) > limit {
				return errAdminBusy
			}
			return next(ctx, call)
		}
	}
}

// boundSeconds returns a handler that calls profile, but refuses requests for an invalid duration
// or for a duration of more than profileTime. Without this limit, net/http/pprof accepts any
// duration and extends the write deadline.
func boundSeconds(profile http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if text := r.URL.Query().Get("seconds"); text != "" {
			seconds, err := strconv.ParseFloat(text, 64)
			if err != nil || !(seconds >= 0 && seconds <= profileTime.Seconds()) {
				http.Error(w, fmt.Sprintf("seconds: want a number from 0 to %v", profileTime.Seconds()), http.StatusBadRequest)
				return
			}
		}
		profile(w, r)
	})
}

// withoutBody returns a handler that calls next without the body of the request. The handlers of
// net/http/pprof parse forms, and would store multipart forms of any size in memory and in
// temporary files.
func withoutBody(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		bare := *r
		bare.Body, bare.ContentLength = http.NoBody, 0
		next.ServeHTTP(w, &bare)
	})
}
