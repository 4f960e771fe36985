package httpapi

import (
	"net/http"
	"sync/atomic"
	"time"
)

// date is the value of the header Date during one second.
type date struct {
	unix  int64
	value []string
}

var lastDate atomic.Pointer[date]

// dateHeader returns the value of the header Date (RFC 9110, section 6.6.1) for the time now. All
// responses of one second share this value, because formatting it for each response, as net/http
// does, takes about 1.5% of the time of a request.
func dateHeader(now time.Time) []string {
	d := lastDate.Load()
	if unix := now.Unix(); d == nil || d.unix != unix {
		d = &date{unix, []string{now.UTC().Format(http.TimeFormat)}}
		lastDate.Store(d)
	}
	return d.value
}
